"""Find labels that are likely wrong, and pictures that are no pictures.

python -m lightline labels [--folds N] [-S OVERRIDE …]
python -m lightline labels --of EXPERIMENT EXPERIMENT …
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightline.errors import LightlineError, explain_full_disk
from lightline.runtime.experiment_files import read_file, reading

REPORTS = Path("reports/labels")
_SHOWN = 5


def main(arguments: Sequence[str]) -> int:
    """Train a model a fold, write reports/labels/, and print what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m lightline labels",
        description="Find labels that are likely wrong, by models that were not trained on them, and odd pictures.",
        epilog="The models are runs of the pipeline: the better they are, the more they find. A recipe for photos: "
        "-S recipe=linear_probe.",
    )
    parser.add_argument("--folds", type=int, default=5, help="parts of the data, one model each (default: %(default)s)")
    parser.add_argument("-S", dest="overrides", action="append", default=[], help="as of `dvc exp run`; of the models")
    parser.add_argument("--of", nargs="+", metavar="EXPERIMENT", help="read the folds that these were; runs nothing")
    options = parser.parse_args(arguments)
    if options.folds < 2:
        parser.error("--folds must be at least 2")
    from commands.labelling.folds import run_folds

    try:
        _find(options.of or run_folds(options.folds, options.overrides))
    except LightlineError as error:
        sys.exit(f"error: {error}")
    return 0


def _find(names_of_runs: list[str]) -> None:
    import numpy as np

    from commands.labelling.folds import pairs, read_folds
    from lightline.files import write_csv
    from lightline.models.label_errors import label_quality, suspects

    found = read_folds(names_of_runs)
    chosen = suspects(found.probabilities, found.labels)
    quality, likely = label_quality(found.probabilities, found.labels), found.probabilities.argmax(1)
    ranked = np.flatnonzero(chosen)[np.argsort(quality[chosen], kind="stable")]
    rows = []
    for row in ranked.tolist():
        given, other = found.labels[row], likely[row]
        numbers = quality[row], found.probabilities[row, given], found.probabilities[row, other]
        told = found.ids[row], found.classes[given], found.classes[other]
        rows.append((*told, *(round(float(number), 6) for number in numbers)))
    names = ("id", "given", "likely", "quality", "probability_given", "probability_likely")
    write_csv(REPORTS / "suspects.csv", names, rows)
    of_pairs = pairs(found, chosen)
    write_csv(REPORTS / "pairs.csv", ("given", "likely", "images", "share", "lower", "upper"), of_pairs)
    print(f"{len(rows)} of {len(found.ids)} labels are likely wrong, see {REPORTS / 'suspects.csv'}")
    for given, other, images, share, lower, upper in of_pairs[:_SHOWN]:
        print(f"  {given} that is likely {other}: {images} images, {share:.1%} ({lower:.1%} to {upper:.1%})")
    _find_odd(names_of_runs[0])


def _find_odd(run: str) -> None:
    from commands.comparing.dataset_here import dataset_here
    from commands.labelling.odd import Odd, odd_pictures
    from lightline.files import write_csv

    digest = json.loads(read_file(run, "reports/train/fingerprint.json"))["dataset"]
    with TemporaryDirectory() as folder:
        odd = odd_pictures(dataset_here({digest}) or _dataset_of(run, Path(folder, "dataset")))
    write_csv(REPORTS / "odd.csv", [field.name for field in fields(Odd)], [astuple(one) for one in odd])
    print(f"{len({one.id for one in odd})} pictures are odd, see {REPORTS / 'odd.csv'}")


def _dataset_of(run: str, folder: Path) -> Any:
    """Copy a run's dataset from DVC's cache or remote into a folder, and open it."""
    from dvc.api import DVCFileSystem

    from lightline.data.dataset import Dataset

    with reading(run), explain_full_disk():
        DVCFileSystem(rev=run).get("data/dataset", str(folder), recursive=True)
        return Dataset(folder)
