"""Decide which images train, which choose the best epoch and which judge; write it down in data/splits.parquet."""

from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import write_splits
from lightline.runtime.allocator import return_freed_memory
from lightline.runtime.stage import run_stage
from stages.split import earlier
from stages.split.near_copies import NONE, find_near_copies
from stages.split.report import Report
from stages.split.strategies import Columns, DuplicatesError, assign, without_dropped


def main(params: Params) -> None:
    return_freed_memory()
    dataset = Dataset()
    columns = Columns.of(dataset)
    try:
        splits = assign(columns, params.split, params.seed)
    except DuplicatesError as error:
        Report.of(columns, error.splits, NONE).write_duplicates()
        raise
    splits = without_dropped(splits, dataset.column("dropped"))
    near = find_near_copies(dataset.column("thumbnail"), splits, columns.digests)
    report = Report.of(columns, splits, near)
    moved = earlier.warning(columns.ids, splits, params.model_dump(mode="json", include={"seed", "split"}))
    write_splits(columns.ids, columns.labels, splits)
    report.write()
    if params.split.strategy != "predefined" and len({*columns.splits} - {None}) > 1:
        print(
            "warning: the source says which images are for training and which for testing; split.strategy = "
            f"{params.split.strategy!r} divides them anew, split=predefined keeps to it"
        )
    for warning in [*report.warnings(), *filter(None, [moved])]:
        print(f"warning: {warning}")
    counts = report.summary()
    print(", ".join(f"{counts[f'{name}_images']} {name}" for name in ("train", "val", "test")))


if __name__ == "__main__":
    run_stage(main)
