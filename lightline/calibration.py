"""Confidence that means what it says: one temperature for all logits (Guo et al. 2017), and its diagram."""

from dataclasses import dataclass

import numpy as np

_MAX_STEPS = 200


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies between two numbers: how many, how confident and how often right on average."""

    low: float
    high: float
    confidence: float
    accuracy: float
    images: int


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """The number by which to divide logits so that the cross-entropy of these images is smallest.

    logits: float [images, classes]. labels: int [images].
    None: there is no such number, because every image is classified correctly (it would be 0), or the logits tell
    nothing of the labels (it would be infinite), or there is no image.
    """
    scores = logits.astype(np.float64)
    of_label = scores[np.arange(len(labels)), labels]
    if not (scores.max(axis=1, initial=-np.inf) > of_label).any() or of_label.mean() <= scores.mean():
        return None
    # In 1 / temperature the loss is convex: its slope has one root, which Newton's steps find between two bounds.
    low, high, scale = 0.0, np.inf, 1.0
    for _ in range(_MAX_STEPS):
        slope, curvature = _slope(scores, of_label.mean(), scale)
        low, high = (scale, high) if slope < 0 else (low, scale)
        before, scale = scale, scale - slope / curvature if curvature > 0 else np.inf
        if not low <= scale <= high or not np.isfinite(scale):
            scale = 2 * before if np.isinf(high) else (low + high) / 2
        if abs(scale - before) <= 1e-12 * before:
            break
    return float(1 / scale)


def _slope(scores: np.ndarray, mean_of_label: float, scale: float) -> tuple[float, float]:
    """First and second derivative of the mean cross-entropy of scores * scale, by the scale."""
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) * scale)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    mean = (probabilities * scores).sum(axis=1, keepdims=True)
    variance = (probabilities * (scores - mean) ** 2).sum(axis=1)
    return float(mean.mean() - mean_of_label), float(variance.mean())


def reliability(confidence: np.ndarray, correct: np.ndarray, num_bins: int) -> list[Bin]:
    """The bins of equal width between 0 and 1 that hold images, ascending.

    confidence: float [images], of the predicted class. correct: bool [images].
    """
    number = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
    return [
        Bin(
            low=index / num_bins,
            high=(index + 1) / num_bins,
            confidence=float(confidence[number == index].mean()),
            accuracy=float(correct[number == index].mean()),
            images=int((number == index).sum()),
        )
        for index in np.unique(number).tolist()
    ]
