"""The reliability diagram: how often answers of a confidence are right."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies between two numbers: how many, how confident and how often right on average."""

    low: float
    high: float
    confidence: float
    accuracy: float
    images: int


def bin_numbers(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    """Find the bin of equal width between 0 and 1 that each confidence lies in: int64 [images]."""
    return np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)


def reliability(confidence: np.ndarray, correct: np.ndarray, num_bins: int) -> list[Bin]:
    """Return the bins of equal width between 0 and 1 that hold images, ascending.

    confidence: float [images], of the predicted class. correct: bool [images].
    """
    number = bin_numbers(confidence, num_bins)
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
