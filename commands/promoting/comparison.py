"""What champion and challenger answer to the same images, which neither has learned from: onnxruntime, no torch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lightline.data.attributes import SLICE
from lightline.data.dataset import Dataset, pixel_stacks
from lightline.data.splits import read_splits
from lightline.errors import DataError, some
from lightline.files import content_digest, file_digest
from lightline.redaction import redacted
from lightline.runtime.experiment_files import reading
from lightline_predict.classifier import CONTRACT, Classifier

MODEL, CARD = "models/model.onnx", "models/MODEL_CARD.md"
_DATASET, _SPLITS, _PREDICTIONS = "data/dataset", "data/splits.parquet", "reports/test/predictions.parquet"
_STACK = 64  # images that are answered at once
_SKETCH, _SHORT = 256, 12  # digests by which two test sets are known to share images, and digits of each
_ROUNDS, _LONGEST = 30, 10.0  # answers that are timed, of each model; seconds that this may take
_SHOWN = 5  # classes in a message


@dataclass(frozen=True)
class Contender:
    """A model that a commit has. name: as people call it. digest: SHA-256 of the file. path: where it lies for now."""

    name: str
    commit: str
    path: Path
    digest: str
    classifier: Classifier

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size


@dataclass(frozen=True)
class TestSet:
    """The images that both answer.

    Attributes:
        images: in the challenger's test split. left_out: of these, which the champion has learned from.
        digest: SHA-256 of the pixels and labels of the others.
        sketch: the smallest digests of their pixels, shortened: two sets that share images share some of these.
    """

    __test__ = False  # for pytest

    images: int
    left_out: int
    digest: str
    sketch: list[str]


@dataclass(frozen=True)
class Comparison:
    """Answers of both, the champion first.

    Attributes:
        labels: int [images], positions in classes.
        probabilities: float64 [images, classes] each.
        columns: what images have in common, texts or None [images], by name.
        latency: the least seconds of an answer to one image.
    """

    champion: Contender
    challenger: Contender
    test_set: TestSet
    classes: list[str]
    labels: np.ndarray
    probabilities: tuple[np.ndarray, np.ndarray]
    columns: dict[str, list[str | None]]
    latency: tuple[float, float]


def fetch_model(name: str, commit: str, folder: Path, advice: str) -> Contender:
    """Get the model file of a commit from DVC's cache or remote into a folder, and open it.

    Raises:
        DataError, ModelFileError: it has none, none that is to be had, or none of a known contract.
    """
    path = folder / commit / Path(MODEL).name
    path.parent.mkdir()
    path.write_bytes(_read(name, commit, MODEL, advice))
    classifier = Classifier(path)
    contract = str(classifier.metadata.get("contract", 1))
    if contract not in {str(known) for known in range(1, CONTRACT + 1)}:
        raise DataError(
            f"The model of {name} is of contract {contract}; this version of Lightline knows {CONTRACT} at most. Take "
            "the version that exported it."
        )
    return Contender(name, commit, path, file_digest(path), classifier)


def fetch_card(model: Contender) -> Path:
    """Get the model's card, too, to lie beside it.

    Raises:
        DataError: it is not to be had.
    """
    card = model.path.with_name(Path(CARD).name)
    card.write_bytes(_read(model.name, model.commit, CARD, "`dvc repro` writes it."))
    return card


def compare(champion: Contender, challenger: Contender, folder: Path, advice: str) -> Comparison:
    """Have both answer the challenger's test images, but for those that the champion has learned from.

    folder: for the challenger's dataset, meanwhile. advice: of what to do where a file of the champion is missing.

    Raises:
        DataError: their classes differ, files are missing, or no image is left.
    """
    order = _order(champion, challenger)
    dataset, rows = _test_rows(challenger, folder)
    digests = dataset.column("digest")[rows]
    learned = np.isin(digests, list(_learned(champion, advice)))
    if learned.all():
        raise DataError(
            f"All {len(rows)} test images of {challenger.name} are among those that {champion.name} was trained or "
            "chosen on: nothing is left to compare them by. Take test images that are new."
        )
    images, rows, digests = len(rows), rows[~learned], digests[~learned]
    first, second = _answers(dataset, rows, champion, challenger)
    labels = dataset.test_labels[rows]
    seen = sorted(zip(digests.tolist(), labels.tolist(), strict=True))
    sketch = sorted({digest[:_SHORT] for digest in digests.tolist()})[:_SKETCH]
    return Comparison(
        champion,
        challenger,
        TestSet(images, int(learned.sum()), content_digest(seen), sketch),
        challenger.classifier.classes,
        labels.astype(np.int64),
        (first[:, order], second),
        _columns(challenger, dataset.column("id")[rows]),
        _latency(champion.classifier, challenger.classifier, dataset.pixels(int(rows[0]))[None]),
    )


def _order(champion: Contender, challenger: Contender) -> list[int]:
    """Find where in the champion's answers each of the challenger's classes is."""
    theirs, own = champion.classifier.classes, challenger.classifier.classes
    if set(theirs) != set(own):
        told = [
            f"{model.name} alone has {some(alone, _SHOWN)}"
            for model, alone in ((champion, sorted({*theirs} - {*own})), (challenger, sorted({*own} - {*theirs})))
            if alone
        ]
        raise DataError(
            f"Champion and challenger answer different questions, and so neither can be called better: "
            f"{'; '.join(told)}. `--first` makes the challenger the champion without a comparison."
        )
    return [theirs.index(name) for name in own]


def _test_rows(challenger: Contender, folder: Path) -> tuple[Dataset, np.ndarray]:
    files = _files_of(challenger.commit)
    with reading(challenger.name):
        files.get(_DATASET, str(folder / "dataset"), recursive=True)
        files.get_file(_SPLITS, str(folder / "splits.parquet"))
    dataset, splits = Dataset(folder / "dataset"), read_splits(folder / "splits.parquet")
    splits.check_dataset(dataset)
    rows = splits.rows("test")
    if not len(rows):
        raise DataError(f"{challenger.name} has no test images, and so nothing to be compared by.")
    return dataset, rows


def _learned(champion: Contender, advice: str) -> set[str]:
    """List the digests of the pixels that the champion was trained and chosen on, by its own commit."""
    index = pq.read_table(BytesIO(_read(champion.name, champion.commit, f"{_DATASET}/index.parquet", advice)))
    splits = pq.read_table(BytesIO(_read(champion.name, champion.commit, _SPLITS, advice)))
    digests = dict(zip(index["id"].to_pylist(), index["digest"].to_pylist(), strict=True))
    pairs = zip(splits["id"].to_pylist(), splits["split"].to_pylist(), strict=True)
    return {digests[name] for name, split in pairs if split in ("train", "val")}


def _files_of(commit: str) -> Any:
    """Open the files of a commit, from DVC's cache or from the default remote that is set here.

    Left to itself, DVC asks the remote that the commit's own configuration names, and that of an old one may name none.
    """
    from dvc.api import DVCFileSystem
    from dvc.config import Config

    return DVCFileSystem(rev=commit, remote=Config.from_cwd()["core"].get("remote"))


def _read(name: str, commit: str, path: str, advice: str) -> bytes:
    try:
        with reading(name):
            return _files_of(commit).read_bytes(path)
    except DataError as error:
        reason = redacted(str(error.__cause__ or error)).splitlines()[0]
        raise DataError(f"{path} of {name} cannot be read here ({reason}). {advice}") from error


def _answers(dataset: Dataset, rows: np.ndarray, *models: Contender) -> tuple[np.ndarray, np.ndarray]:
    found = [[model.classifier.predict(stack)[1] for model in models] for stack in pixel_stacks(dataset, rows, _STACK)]
    first, second = (np.concatenate(parts).astype(np.float64) for parts in zip(*found, strict=True))
    return first, second


def _columns(challenger: Contender, ids: np.ndarray) -> dict[str, list[str | None]]:
    """Read what these images have in common, as `test` wrote it down."""
    table = pq.read_table(BytesIO(_read(challenger.name, challenger.commit, _PREDICTIONS, "`dvc repro` writes it.")))
    positions = {name: row for row, name in enumerate(table["id"].to_pylist())}
    rows = [positions[name] for name in ids.tolist()]
    names = [name for name in table.column_names if name.startswith(SLICE)]
    return {name.removeprefix(SLICE): table[name].take(rows).to_pylist() for name in names}


def _latency(first: Classifier, second: Classifier, pixels: np.ndarray) -> tuple[float, float]:
    """Take the shortest time of an answer, in seconds, which a busy machine changes least; they take turns."""
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + _LONGEST
    for number in range(_ROUNDS):
        for model, measured in zip((first, second), times, strict=True):
            started = time.perf_counter()
            model.predict(pixels)
            measured.append(time.perf_counter() - started)
        if number and time.perf_counter() > end:  # the first ones are slow
            break
    return min(times[0]), min(times[1])


def shares_images(one: Sequence[str], other: Sequence[str]) -> bool:
    """Tell by their sketches whether two test sets have images in common: a few of many thousands may not be seen."""
    return not set(one).isdisjoint(other)
