"""One number that makes probabilities of logits that mean what they say.

C. Guo et al., "On calibration of modern neural networks" (2017).
"""

import math
from typing import Any

import numpy as np

_FARTHEST = 25.0  # the logarithm of a temperature


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Compute the softmax of logits / temperature: float64 [images, classes]."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Find the number by which to divide logits so that the cross-entropy of these images is smallest.

    logits: float [images, classes]. labels: int [images].
    None: there is no such number, because every image is classified correctly (it would be 0), or the logits tell
    nothing of the labels (it would be infinite), or there is no image.
    """
    if not len(logits):
        return None
    scores = logits.astype(np.float64)
    of_label = scores[np.arange(len(labels)), labels].mean()

    def slope(log_scale: float) -> float:
        """Give the derivative of the cross-entropy by 1 / temperature, in which it is convex."""
        expected = probabilities(scores, math.exp(-log_scale)) * scores
        return float(expected.sum(1).mean() - of_label)

    if slope(-_FARTHEST) >= 0 or slope(_FARTHEST) <= 0:
        return None
    from scipy.optimize import brentq

    # The last digits depend on the order of sums; the answers must not.
    log_scale: Any = brentq(slope, -_FARTHEST, _FARTHEST, xtol=1e-12)
    return float(f"{math.exp(-log_scale):.6g}")
