"""What two models answered to the same test images, compared image by image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lightline.errors import DataError
from lightline.models.temperature import probabilities

_SAMPLES = 2_000  # of the bootstrap
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Experiment:
    """name: as it was asked for. predictions: of test. metrics: of test and export. params: of params.yaml.

    dataset: its digest.
    """

    name: str
    predictions: pa.Table
    metrics: dict[str, Any]
    params: dict[str, Any]
    dataset: str

    def classes_of(self) -> dict[str, str]:
        """Give the class of each image by its id."""
        return dict(zip(self.predictions["id"].to_pylist(), self.predictions["class"].to_pylist(), strict=True))


@dataclass(frozen=True)
class Difference:
    """A number of both, and the second's less the first's with its interval; None where that has no meaning."""

    name: str
    first: float | None
    second: float | None
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Pairs:
    """Both models' answers to the images that both were tested on; arrays are in the order of ids.

    only_first, only_second: positions of the images that one alone gets right. p_value: of McNemar's exact test.
    """

    ids: list[str]
    labels: list[str]
    answers: tuple[list[str], list[str]]
    confidences: tuple[np.ndarray, np.ndarray]
    differences: list[Difference]
    only_first: np.ndarray
    only_second: np.ndarray
    p_value: float


def compare(first: Experiment, second: Experiment) -> Pairs:
    """Compare image by image.

    Raises:
        DataError: they have no test image in common, or give one other classes.
    """
    classes, others = first.classes_of(), second.classes_of()
    common = sorted(classes.keys() & others.keys())
    if not common:
        raise DataError(f"{first.name} and {second.name} have no test image in common.")
    if changed := [name for name in common if classes[name] != others[name]]:
        raise DataError(
            f"{first.name} calls {changed[0]!r} {classes[changed[0]]!r} and {second.name} "
            f"{others[changed[0]]!r}: their labels differ, and so their answers cannot be compared."
        )
    tables = [_of(experiment, common) for experiment in (first, second)]
    right = [np.array(table["predicted"]) == np.array(table["label"]) for table in tables]
    losses = [_losses(table, experiment) for table, experiment in zip(tables, (first, second), strict=True)]
    only = [right[0] & ~right[1], right[1] & ~right[0]]
    differences = [_paired("accuracy", *(one.astype(float) for one in right)), _paired("loss, calibrated", *losses)]
    return Pairs(
        ids=common,
        labels=tables[0]["class"].to_pylist(),
        answers=(tables[0]["predicted_class"].to_pylist(), tables[1]["predicted_class"].to_pylist()),
        confidences=(tables[0]["confidence"].to_numpy(), tables[1]["confidence"].to_numpy()),
        differences=differences + _plain(first, second),
        only_first=np.flatnonzero(only[0]),
        only_second=np.flatnonzero(only[1]),
        p_value=_mcnemar(int(only[0].sum()), int(only[1].sum())),
    )


def _of(experiment: Experiment, ids: list[str]) -> pa.Table:
    positions = {name: row for row, name in enumerate(experiment.predictions["id"].to_pylist())}
    return experiment.predictions.take([positions[name] for name in ids])


def _losses(table: pa.Table, experiment: Experiment) -> np.ndarray:
    shares = probabilities(np.stack(table["logits"].to_numpy()), experiment.metrics.get("temperature") or 1.0)
    return -np.log(np.maximum(shares[np.arange(len(shares)), table["label"].to_numpy()], 1e-12))


def _paired(name: str, first: np.ndarray, second: np.ndarray) -> Difference:
    """Bootstrap the difference of means over images, which both have in common: the same every time."""
    rng, differences = np.random.default_rng(0), second - first
    means = [differences[rng.integers(len(differences), size=len(differences))].mean() for _ in range(_SAMPLES)]
    lower, upper = np.quantile(means, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Difference(name, first.mean(), second.mean(), differences.mean(), float(lower), float(upper))


def _plain(first: Experiment, second: Experiment) -> list[Difference]:
    names = [name for name, value in first.metrics.items() if isinstance(value, int | float) and name != "accuracy"]
    return [Difference(name, first.metrics[name], second.metrics.get(name)) for name in names]


def _mcnemar(only_first: int, only_second: int) -> float:
    """Ask how likely so uneven a division of the images that one alone gets right is (Q. McNemar, 1947; exact)."""
    from scipy.stats import binomtest

    return float(binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0
