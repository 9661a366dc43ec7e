"""What models think of images that they have not seen: one run a fold, each tested on what it was not trained on."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline.config.folds import of_fold
from lightline.errors import DataError, LightlineError
from lightline.models.temperature import probabilities
from lightline.runtime.experiment_files import read_file, reading


@dataclass(frozen=True)
class OutOfFold:
    """Of every image that some fold was tested on: ids; labels, int64; probabilities, float64 [images, classes]."""

    ids: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    classes: list[str]


def run_folds(num_folds: int, overrides: Sequence[str]) -> list[str]:
    """Run each fold as a DVC experiment, in a folder of its own, and give their names.

    What was finished comes from DVC's cache, a training that was stopped goes on where it was.

    Raises:
        LightlineError: a run failed; it has said why.
    """
    key = hashlib.sha256(json.dumps([num_folds, *overrides]).encode()).hexdigest()[:8]
    names = []
    for fold in range(num_folds):
        print(f"fold {fold + 1} of {num_folds}", flush=True)
        names.append(f"labels-{key}-{fold}")
        settings = [word for override in of_fold(fold, num_folds, overrides) for word in ("-S", override)]
        dvc = (sys.executable, "-m", "dvc", "exp")
        # Its name is free again, its results stay in the cache; --force would compute all of it anew.
        subprocess.run((*dvc, "remove", names[-1]), check=False, capture_output=True)
        if subprocess.run((*dvc, "run", "--temp", "-n", names[-1], *settings, "test"), check=False).returncode:
            raise LightlineError(f"Fold {fold + 1} failed, see above. The same command goes on from there.")
    return names


def read_folds(names: Sequence[str]) -> OutOfFold:
    """Read what the runs found.

    Raises:
        DataError: they cannot be read, or are no folds of the same data.
    """
    parts, shares = [], []
    for name in names:
        with reading(name):
            table = pq.read_table(BytesIO(read_file(name, "reports/test/predictions.parquet")))
            temperature = json.loads(read_file(name, "reports/test/metrics.json"))["temperature"]
            parts.append(table.select(["id", "label", "class"]))
            shares.append(probabilities(np.stack(table["logits"].to_numpy()), temperature))
    table = pa.concat_tables(parts)
    numbers = set(zip(table["label"].to_pylist(), table["class"].to_pylist(), strict=True))
    are_other_classes = len({part.shape[1] for part in shares}) > 1 or len(dict(numbers)) < len(numbers)
    if are_other_classes or len(set(table["id"].to_pylist())) < len(table):
        raise DataError(
            f"{', '.join(names)} are no folds of the same data: their classes differ, or their test images overlap."
        )
    labels, classes = table["label"].to_numpy().astype(np.int64), dict(numbers)
    num_classes = shares[0].shape[1]
    known = [classes.get(number, f"class {number}") for number in range(num_classes)]
    return OutOfFold(table["id"].to_pylist(), labels, np.concatenate(shares), known)


def pairs(found: OutOfFold, chosen: np.ndarray) -> list[tuple[Any, ...]]:
    """Count by given and likely label: given, likely, images, share of the given class's and its interval.

    chosen: bool [images], the suspects.
    """
    from stages.test.slices import wilson

    num_classes = len(found.classes)
    likely = found.probabilities.argmax(1)
    counts = np.bincount(found.labels[chosen] * num_classes + likely[chosen], minlength=num_classes**2)
    sizes = np.bincount(found.labels, minlength=num_classes)
    rows = []
    for position in np.argsort(-counts, kind="stable")[: int((counts > 0).sum())].tolist():
        given, other = divmod(position, num_classes)
        count, images = int(counts[position]), int(sizes[given])
        bounds = (round(bound, 6) for bound in wilson(count, images, 0.95))
        rows.append((found.classes[given], found.classes[other], count, round(count / images, 6), *bounds))
    return rows
