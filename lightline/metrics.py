"""What a classifier's logits are worth on labelled images, in double precision.

Counted with numpy and not by torchmetrics, which takes longer to load, two seconds, than the test stage needs for all
else; scikit-learn's numbers, as the tests compare them, are the same.

To add a metric: a line in `overall` (or a column in `per_class`), and a test beside tests/test_metrics.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightline.calibration import reliability

_BOOTSTRAP_SEED = 0  # the interval is a property of the predictions, not of a run


@dataclass(frozen=True)
class ClassScores:
    """One class against all others. None: not defined, because no test image, or every one, is of this class."""

    name: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None
    auroc: float | None


def overall(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """accuracy, top5_accuracy (of more than five classes) and loss: the mean cross-entropy, unweighted, unsmoothed.

    logits: float [images, classes]. labels: int [images].
    """
    of_label = logits[np.arange(len(labels)), labels][:, None]
    # Of equal logits the first wins, as in argmax.
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    rank = ((logits > of_label) | ((logits == of_label) & earlier)).sum(axis=1)
    result = {"accuracy": float((rank == 0).mean())}
    if logits.shape[1] > 5:
        result["top5_accuracy"] = float((rank < 5).mean())
    return result | {"loss": _cross_entropy(logits, labels)}


def per_class(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> list[ClassScores]:
    """The scores of each class, in output order; a class that is never predicted has precision 0.

    logits: float [images, classes]. labels: int [images].
    """
    confusion = confusion_matrix(logits.argmax(axis=1), labels, len(classes))
    correct, actual, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = correct / np.maximum(predicted, 1), correct / np.maximum(actual, 1)
    f1 = 2 * correct / np.maximum(actual + predicted, 1)
    probabilities = _softmax(logits)
    return [
        ClassScores(name, images, *counted, auroc=_auroc(probabilities[:, number], labels == number))
        if images
        else ClassScores(name, 0, None, None, None, None)
        for number, (name, images, *counted) in enumerate(
            zip(classes, actual.tolist(), precision.tolist(), recall.tolist(), f1.tolist(), strict=True)
        )
    ]


def _auroc(scores: np.ndarray, belongs: np.ndarray) -> float | None:
    """How often an image of the class has a higher score than one of another class; equal scores count half."""
    own, others = scores[belongs], np.sort(scores[~belongs])
    if len(others) == 0:
        return None
    below = np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")
    return float(below.mean() / (2 * len(others)))


def macro(scores: Sequence[ClassScores]) -> dict[str, float | None]:
    """precision, recall, f1 and auroc: the plain mean over the classes for which they are defined; None without any."""
    result: dict[str, float | None] = {}
    for name in ("precision", "recall", "f1", "auroc"):
        defined = [value for value in (getattr(score, name) for score in scores) if value is not None]
        result[name] = float(np.mean(defined)) if defined else None
    return result


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """int64 [actual, predicted], images. predicted, labels: int [images]."""
    pairs = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, num_bins: int) -> float:
    """Mean distance between confidence and accuracy over bins of equal width, weighted by their images.

    logits: float [images, classes]. labels: int [images].
    """
    bins = reliability(_softmax(logits).max(axis=1), logits.argmax(axis=1) == labels, num_bins)
    return sum(one.images * abs(one.confidence - one.accuracy) for one in bins) / len(labels)


def bootstrap_accuracy(correct: np.ndarray, num_samples: int, confidence: float) -> tuple[float, float]:
    """The percentile bootstrap interval of the accuracy, the same every time.

    correct: bool [images]. confidence: of the interval, as in 0.95.
    """
    # Drawing n images with replacement of which a part is correct is drawing a binomial number of correct ones.
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    drawn = generator.binomial(len(correct), correct.mean(), num_samples) / len(correct)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """float64 [images, classes]."""
    powers = np.exp(_from_largest(logits))
    return powers / powers.sum(axis=1, keepdims=True)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    scores = _from_largest(logits)
    return float((np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]).mean())


def _from_largest(logits: np.ndarray) -> np.ndarray:
    """float64 [images, classes]: each row less its largest logit, so that no exponential overflows."""
    return logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
