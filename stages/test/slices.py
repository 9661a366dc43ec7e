"""Where a classifier is wrong: accuracy of parts of the test split, and which of them are worse than the rest.

A slice is worse where Fisher's exact test says so after Holm's correction for all slices that were looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

QUARTILES = ("lowest", "low", "high", "highest")


@dataclass(frozen=True)
class Slice:
    """The images that have a value in common.

    by, value: what they have in common, as in group and 7. images: how many; errors: of these, answered wrongly. lower,
    upper: Wilson's interval of the accuracy. ece: their expected calibration error. p_value: of their accuracy being no
    lower than that of all others, after Holm's correction; None: too few of either to ask.
    """

    by: str
    value: str
    images: int
    accuracy: float
    lower: float
    upper: float
    ece: float
    p_value: float | None


def find_slices(
    columns: Mapping[str, Sequence[str | None]],
    correct: np.ndarray,
    certainty: np.ndarray,
    *,
    smallest: int,
    confidence: float,
    num_bins: int,
) -> list[Slice]:
    """Judge every slice, those most surely worse than the rest first.

    columns: what images may have in common, a text an image or None, by name. correct: bool [images]. certainty: float
    [images], of the predicted class. smallest: images that a slice needs for being compared with the rest. confidence:
    of the intervals. num_bins: of the calibration error.
    """
    parts = [
        (by, value, np.array([other == value for other in values], bool))
        for by, values in columns.items()
        for value in sorted({value for value in values if value is not None})
    ]
    asked = [is_in.sum() >= smallest and (~is_in).any() for _, _, is_in in parts]
    p_values = iter(holm([_p_value(correct, is_in) for (_, _, is_in), ask in zip(parts, asked, strict=True) if ask]))
    found = []
    for (by, value, is_in), ask in zip(parts, asked, strict=True):
        right, images = int(correct[is_in].sum()), int(is_in.sum())
        interval = wilson(right, images, confidence)
        ece = calibration_error(certainty[is_in], correct[is_in], num_bins)
        found.append(Slice(by, value, images, right / images, *interval, ece, next(p_values) if ask else None))
    return sorted(found, key=lambda one: (one.p_value is None, one.p_value or 0.0, one.accuracy, one.by, one.value))


def worse(slices: Sequence[Slice], confidence: float) -> list[Slice]:
    """Choose those that are worse than the rest."""
    return [one for one in slices if one.p_value is not None and one.p_value <= 1 - confidence]


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


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (S. Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.minimum(np.asarray(p_values)[order] * factors, 1.0))
    return corrected.tolist()


def calibration_error(certainty: np.ndarray, correct: np.ndarray, num_bins: int) -> float:
    """Compute the mean distance of confidence and accuracy over bins of equal width, weighted by their images."""
    number = np.minimum((certainty * num_bins).astype(np.int64), num_bins - 1)
    return float(np.abs(np.bincount(number, certainty - correct)).sum() / len(certainty))


def _p_value(correct: np.ndarray, is_in: np.ndarray) -> float:
    """Ask how likely as many errors or more would be in a part as large, were errors anywhere alike."""
    from scipy.stats import hypergeom

    errors = int((~correct).sum())
    return float(hypergeom.sf(int((~correct[is_in]).sum()) - 1, len(correct), errors, int(is_in.sum())))
