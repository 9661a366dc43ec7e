"""What a classifier's logits are worth on labelled images: torchmetrics on plain arrays, in double precision.

To add a metric: a line in `overall`, or a field of ClassScores and its column in `per_class`; and a test beside
tests/stages/test/test_metrics.py. Reports, `dvc exp show`, W&B and the model card show what there is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_accuracy,
    multiclass_calibration_error,
)

from lightline.config.extensions import Chosen
from lightline.errors import ParameterError
from lightline.extensions import build_extension

_MOST_ROWS = 1000  # of a confusion matrix; as many as a figure has pixels for
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


SCORES = [field.name for field in fields(ClassScores) if field.name not in ("name", "images")]


def overall(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute accuracy, top5_accuracy (of more than five classes), loss: mean cross-entropy, unweighted, unsmoothed.

    logits: float [images, classes]. labels: int [images].
    """
    scores, target = _tensors(logits, labels)
    num_classes = logits.shape[1]
    result = {"accuracy": multiclass_accuracy(scores, target, num_classes, average="micro").item()}
    if num_classes > 5:
        # torchmetrics would make three tables of the logits' size, in int64.
        result["top5_accuracy"] = (scores.topk(5).indices == target[:, None]).any(1).double().mean().item()
    return result | {"loss": cross_entropy(scores, target).item()}


def per_class(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> list[ClassScores]:
    """Compute the scores of each class, in output order; a class that is never predicted has precision 0.

    logits: float [images, classes]. labels: int [images].
    """
    scores, target = _tensors(logits, labels)
    probabilities = scores.softmax(1).T.contiguous()  # a class's column is read as a whole, and often
    predicted = logits.argmax(1)
    # Counted by class: torchmetrics would count in a table of classes × classes.
    images, guesses, hits = (
        np.bincount(found, minlength=len(classes)).tolist()
        for found in (labels, predicted, labels[predicted == labels])
    )
    result = []
    for number, name in enumerate(classes):
        precision = recall = f1 = None
        if images[number]:
            precision, recall = hits[number] / max(guesses[number], 1), hits[number] / images[number]
            f1 = 2 * hits[number] / (guesses[number] + images[number])
        auroc = None
        if 0 < images[number] < len(labels):
            auroc = binary_auroc(probabilities[number], (target == number).long()).item()
        result.append(ClassScores(name, images[number], precision, recall, f1, auroc))
    return result


def macro(scores: Sequence[ClassScores]) -> dict[str, float | None]:
    """Average precision, recall and so on, plainly, over the classes for which they are defined; None without any."""
    result: dict[str, float | None] = {}
    for name in SCORES:
        defined = [value for value in (getattr(score, name) for score in scores) if value is not None]
        result[name] = float(np.mean(defined)) if defined else None
    return result


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Count images: int64 [actual, predicted]; above 1,000 classes, neighbours share a row, so that no more are there.

    predicted, labels: int [images].
    """
    share = -(-num_classes // _MOST_ROWS)
    rows = -(-num_classes // share)
    pairs = labels.astype(np.int64) // share * rows + predicted.astype(np.int64) // share
    return np.bincount(pairs, minlength=rows * rows).reshape(rows, rows)


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, num_bins: int) -> float:
    """Compute the mean distance between confidence and accuracy over bins of equal width, weighted by their images.

    logits: float [images, classes]. labels: int [images].
    """
    scores, target = _tensors(logits, labels)
    # torchmetrics gives a confidence of exactly 1 in single precision a bin of its own; below 1 it is in the last one.
    probabilities = scores.softmax(1).clamp(max=1 - 2**-24)
    return multiclass_calibration_error(probabilities, target, logits.shape[1], n_bins=num_bins, norm="l1").item()


def bootstrap_accuracy(correct: np.ndarray, num_samples: int, confidence: float) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of the accuracy, the same every time.

    correct: bool [images]. confidence: of the interval, as in 0.95.
    """
    # Drawing n images with replacement of which a part is correct is drawing a binomial number of correct ones.
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    drawn = generator.binomial(len(correct), correct.mean(), num_samples) / len(correct)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def extensions(chosen: Sequence[Chosen], logits: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Compute what is chosen of extensions/metrics/; arguments as in `overall`. None: no finite number."""
    result: dict[str, float | None] = {}
    for one in chosen:
        found = build_extension("metric", one.name, one.settings, num_classes=logits.shape[1])(
            *_tensors(logits, labels)
        )
        try:
            result[one.name] = float(found) if math.isfinite(found) else None
        except (TypeError, ValueError, RuntimeError):
            given = type(found).__name__
            raise ParameterError(f"evaluate.metrics = {one.name!r} gives {given}; it must give a number.") from None
    return result


def _tensors(logits: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(logits.astype(np.float64)), torch.from_numpy(labels.astype(np.int64))
