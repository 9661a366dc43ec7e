"""Confidence that means what it says: one temperature for all logits (Guo et al. 2017), and its diagram."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies between two numbers: how many, how confident and how often right on average."""

    low: float
    high: float
    confidence: float
    accuracy: float
    images: int


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Find the number by which to divide logits so that the cross-entropy of these images is smallest.

    logits: float [images, classes]. labels: int [images].
    None: there is no such number, because every image is classified correctly (it would be 0), or the logits tell
    nothing of the labels (it would be infinite), or there is no image.
    """
    scores = torch.from_numpy(logits.astype(np.float64))
    target = torch.from_numpy(labels.astype(np.int64))
    of_label = scores.gather(1, target[:, None])[:, 0]
    if not (scores.amax(1) > of_label).any() or of_label.mean() <= scores.mean():
        return None
    # In 1 / temperature the loss is convex; its logarithm keeps it positive.
    log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [log_scale], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = cross_entropy(scores * log_scale.exp(), target)
        value.backward()
        return value

    optimizer.step(loss)
    return (-log_scale).exp().item()


def reliability(confidence: np.ndarray, correct: np.ndarray, num_bins: int) -> list[Bin]:
    """Return the bins of equal width between 0 and 1 that hold images, ascending.

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
