"""Judge a classifier by its logits on the test split: numbers, tables, warnings. Reads and writes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightline.config.params import Evaluate
from lightline.errors import DataError, ParameterError, some
from lightline.models.temperature import fit_temperature, probabilities
from stages.test.calibration import Bin, reliability
from stages.test.metrics import (
    ClassScores,
    bootstrap_accuracy,
    confusion_matrix,
    expected_calibration_error,
    extensions,
    macro,
    overall,
    per_class,
)
from stages.test.slices import Column, Slice, find_slices

_SHOWN = 10  # classes named in a warning


@dataclass(frozen=True)
class Evaluation:
    """
    classes: names, in output order.
    metrics: plain JSON, flat; a number that is not defined is None.
    labels, predicted: int64 [images], positions in classes.
    logits: float [images, classes].
    probability: float64 [images], of the predicted class, by the plain softmax of the logits.
    confidence: float64 [images], the same after division of the logits by the temperature: what the model file gives.
    confusion: int64 [actual, predicted], images; see `stages.test.metrics.confusion_matrix`.
    columns: what images have in common, see `slices.columns_of`.
    before, after: the reliability diagram of probability and of confidence.
    """

    classes: list[str]
    metrics: dict[str, Any]
    labels: np.ndarray
    predicted: np.ndarray
    logits: np.ndarray
    probability: np.ndarray
    confidence: np.ndarray
    scores: list[ClassScores]
    confusion: np.ndarray
    before: list[Bin]
    after: list[Bin]
    columns: Mapping[str, Column]
    slices: list[Slice]
    warnings: list[str]


def evaluate(
    logits: np.ndarray,
    labels: np.ndarray,
    val: tuple[np.ndarray, np.ndarray],
    settings: Evaluate,
    classes: Sequence[str],
    columns: Mapping[str, Column] | None = None,
) -> Evaluation:
    """Compare logits, float [images, classes], with labels, int [images].

    val: logits and labels of the validation split, from which the temperature is fitted; either may be empty. columns:
    see `slices.columns_of`.

    Raises:
        DataError: there is no image, or a logit is not finite.
    """
    _check(logits)
    labels = labels.astype(np.int64)
    temperature = fit_temperature(*val)
    scale = 1 / (temperature or 1.0)
    predicted = logits.argmax(axis=1)
    correct = predicted == labels
    probability, confidence = (probabilities(logits, value).max(1) for value in (1.0, temperature or 1.0))
    scores = per_class(logits, labels, classes)
    lower, upper = bootstrap_accuracy(correct, settings.bootstrap_samples, settings.confidence)
    plain, scaled = overall(logits, labels), overall(logits * scale, labels)
    accuracy, loss = plain.pop("accuracy"), plain.pop("loss")
    metrics = {
        "accuracy": accuracy,
        "accuracy_lower": lower,
        "accuracy_upper": upper,
        **plain,  # whatever else there is
        **macro(scores),
        "loss": loss,
        "ece": expected_calibration_error(logits, labels, settings.calibration_bins),
        "temperature": temperature or 1.0,
        "calibrated_loss": scaled["loss"],
        "calibrated_ece": expected_calibration_error(logits * scale, labels, settings.calibration_bins),
    }
    own = extensions(settings.metrics, logits, labels)
    if taken := own.keys() & metrics.keys():
        raise ParameterError(f"evaluate.metrics = {min(taken)!r} is the name of a built-in metric; take another.")
    return Evaluation(
        classes=list(classes),
        metrics=metrics | own,
        labels=labels,
        predicted=predicted,
        logits=logits,
        probability=probability,
        confidence=confidence,
        scores=scores,
        confusion=confusion_matrix(predicted, labels, len(classes)),
        before=reliability(probability, correct, settings.calibration_bins),
        after=reliability(confidence, correct, settings.calibration_bins),
        columns=columns or {},
        slices=find_slices(
            columns or {},
            correct,
            confidence,
            smallest=settings.min_slice,
            confidence=settings.confidence,
            num_bins=settings.calibration_bins,
        ),
        warnings=_warnings(scores, correct, temperature, len(val[0])),
    )


def _check(logits: np.ndarray) -> None:
    if len(logits) == 0:
        raise DataError("The test split has no image to judge the model by; set split.test above 0.")
    bad = int((~np.isfinite(logits)).any(axis=1).sum())
    if bad:
        raise DataError(
            f"The model's output is not finite for {bad} of {len(logits)} test images: training has diverged. "
            "Train with a lower optimizer.lr or with trainer.gradient_clip_val."
        )


def _warnings(scores: list[ClassScores], correct: np.ndarray, temperature: float | None, num_val: int) -> list[str]:
    found = []
    undefined = [score.name for score in scores if score.auroc is None]
    if undefined:
        found.append(
            f"no test image, or every one, is of {len(undefined)} of {len(scores)} classes, which count in no mean "
            f"over classes: {some(undefined, _SHOWN)}."
        )
    if temperature is None and num_val == 0:
        found.append("there is no validation split to fit a temperature on; confidence stays as it is.")
    elif temperature is None:
        found.append(
            "no temperature can be fitted, because the model is right on every validation image, or no better than "
            "chance; confidence stays as it is."
        )
    if correct.all() or not correct.any():
        found.append(
            f"all of {len(correct)} test images are {'right' if correct.all() else 'wrong'}: the bootstrap interval of "
            "the accuracy has no width and says nothing of what other images would give."
        )
    return found
