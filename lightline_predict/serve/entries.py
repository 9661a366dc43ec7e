"""What the log is told of an answer; apart from it, as it needs no pyarrow."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer, as the log takes it; the time is in seconds since 1970."""

    time: float
    pixels: np.ndarray
    model: str
    predicted: str
    accepted: bool
    probabilities: np.ndarray
    embedding: np.ndarray | None
