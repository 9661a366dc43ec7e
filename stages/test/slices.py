"""Where a classifier is wrong: accuracy of parts of the test split, and which of them are worse than the rest.

A slice is worse where Fisher's exact test says so after Holm's correction for all slices that were looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np

from lightline.config.params import MEASURED, SLICES, check_slices
from lightline.data.attributes import read_attributes
from lightline.data.dataset import Dataset
from lightline.errors import ParameterError
from stages.test.calibration import bin_numbers
from stages.test.measures import measure

QUARTILES = ("lowest", "low", "high", "highest")
_MOST_VALUES = 1_000  # of a column; one of more is no column of kinds
_SHOWN = 5  # slices named in a line

Column = Sequence[str | None]


@dataclass(frozen=True)
class Slice:
    """The images that have a value in common.

    by, value: what they have in common, as in group and 7. images: how many. lower, upper: Wilson's interval of the
    accuracy. ece: their expected calibration error. p_value: of their accuracy being no lower than that of all others,
    after Holm's correction; None: too few of either to ask.
    """

    by: str
    value: str
    images: int
    accuracy: float
    lower: float
    upper: float
    ece: float
    p_value: float | None


def columns_of(names: Sequence[str], dataset: Dataset, rows: np.ndarray) -> dict[str, Column]:
    """Find what the images of these rows may have in common: a text an image or None, by name.

    Raises:
        ParameterError: one of the names is neither built in nor a column of the source's table, or one of too many
            values.
    """
    ids = dataset.column("id")[rows]
    measured = measure(dataset, rows) if set(names) & set(MEASURED) else {}
    attributes = read_attributes(ids) if set(names) - set(SLICES) else {}
    check_slices(names, attributes)
    found: dict[str, Column] = {}
    for name in names:
        if name in measured:
            found[name] = quartiles(measured[name])
        elif name == "group":
            found[name] = dataset.column("group")[rows].tolist()
        elif name == "folder":
            found[name] = [str(PurePosixPath(path).parent) if "/" in path else None for path in ids]
        else:
            found[name] = attributes[name].tolist()
        found[name] = _few_values(name, found[name])
    return found


def _few_values(name: str, column: Column) -> Column:
    """Leave out what is no column of kinds: where groups or folders are as many as images."""
    values = len({value for value in column if value is not None})
    if values > _MOST_VALUES and name not in ("group", "folder"):
        raise ParameterError(
            f"evaluate.slices names {name!r}, which has {values:,} values among the test images; a slice is one of at "
            f"most {_MOST_VALUES:,}."
        )
    return [None] * len(column) if values > _MOST_VALUES else column


def find_slices(
    columns: Mapping[str, Column],
    correct: np.ndarray,
    certainty: np.ndarray,
    *,
    smallest: int,
    confidence: float,
    num_bins: int,
) -> list[Slice]:
    """Judge every slice, those most surely worse than the rest first.

    columns: as of `columns_of`. correct: bool [images]. certainty: float [images], of the predicted class. smallest:
    images that a slice needs for being compared with the rest. confidence: of the intervals. num_bins: of the
    calibration error.
    """
    from scipy.stats import hypergeom

    found = [one for by, values in columns.items() for one in _judged(by, values, correct, certainty, num_bins)]
    wrong, images = int((~correct).sum()), len(correct)
    counts = np.array([(one[2], one[2] - one[3]) for one in found], int).reshape(-1, 2)
    asked = (counts[:, 0] >= smallest) & (counts[:, 0] < images)
    # How likely as many errors or more would be in a part as large, were errors anywhere alike.
    p_values = iter(holm(hypergeom.sf(counts[asked, 1] - 1, images, wrong, counts[asked, 0])))
    slices = [
        Slice(
            by, value, number, right / number, *wilson(right, number, confidence), ece, next(p_values) if ask else None
        )
        for (by, value, number, right, ece), ask in zip(found, asked, strict=True)
    ]
    return sorted(slices, key=lambda one: (one.p_value is None, one.p_value or 0.0, one.accuracy, one.by, one.value))


def _judged(
    by: str, values: Column, correct: np.ndarray, certainty: np.ndarray, num_bins: int
) -> list[tuple[str, str, int, int, float]]:
    """Count for each value its images, those answered rightly, and their calibration error."""
    known = np.array([value is not None for value in values], bool)
    names, number = np.unique(np.array([value for value in values if value is not None], str), return_inverse=True)
    bins = bin_numbers(certainty[known], num_bins)
    gaps = np.bincount(number * num_bins + bins, certainty[known] - correct[known], len(names) * num_bins)
    images = np.bincount(number, minlength=len(names))
    right = np.bincount(number, correct[known], len(names)).astype(int)
    errors = np.abs(gaps.reshape(len(names), num_bins)).sum(1) / np.maximum(images, 1)
    counts = zip(names.tolist(), images.tolist(), right.tolist(), errors.tolist(), strict=True)
    return [(by, *of_value) for of_value in counts]


def worse(slices: Sequence[Slice], confidence: float) -> list[Slice]:
    """Choose those that are worse than the rest."""
    return [one for one in slices if one.p_value is not None and one.p_value <= 1 - confidence]


def sentence(slices: Sequence[Slice], smallest: int, confidence: float) -> str:
    """Name the slices that are worse than the rest."""
    found = worse(slices, confidence)
    named = ", ".join(f"{one.by} = {one.value} ({one.accuracy:.3f} of {one.images})" for one in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    if found:
        return f"worse than the rest of the test images: {named}{more}"
    return f"no slice of at least {smallest} test images is worse than the rest"


def quartiles(values: np.ndarray) -> list[str | None]:
    """Name the quarter that each number lies in, with its bounds; None where all are alike. values: float [images]."""
    bounds = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    if bounds[0] == bounds[-1]:
        return [None] * len(values)
    number = np.searchsorted(bounds[1:-1], values, side="left")
    parts = zip(QUARTILES, pairwise(bounds), strict=True)
    names = [f"{name} ({low:.4g} to {high:.4g})" for name, (low, high) in parts]
    return [names[quarter] for quarter in number]


def wilson(count: int, images: int, confidence: float) -> tuple[float, float]:
    """Compute the interval of a share (E. B. Wilson, 1927)."""
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    share, denominator = count / images, 1 + z * z / images
    middle = (share + z * z / (2 * images)) / denominator
    half = z * np.sqrt(share * (1 - share) / images + z * z / (4 * images * images)) / denominator
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def holm(p_values: Sequence[float] | np.ndarray) -> list[float]:
    """Correct p-values for their number (S. Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.minimum(np.asarray(p_values)[order] * factors, 1.0))
    return corrected.tolist()
