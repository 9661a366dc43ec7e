"""The gate before a model file is let out: onnxruntime must answer from raw pixels as torch does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from lightline.dataset import Dataset
from lightline.errors import LightlineError
from lightline.inference import pixel_stacks
from lightline.onnx_model import OnnxModel

_MANY = 64  # images in the largest batch
_FEW = 32  # images that are tried at batch 1 and 2, and at other sizes
_SCALES = ((0.5, 0.75), (1.5, 1.0), (2.0, 3.0))  # of height and width: smaller, larger, other proportions
_SHOWN = 5


class ParityError(LightlineError):
    """The exported file answers otherwise than the network."""


@dataclass
class Differences:
    """What was found between torch's and onnxruntime's logits.

    rtol, atol: what is allowed, as in numpy.testing.assert_allclose.
    """

    rtol: float
    atol: float
    compared: int = 0
    ties: int = 0
    largest: float = 0.0

    def add(self, expected: np.ndarray, actual: np.ndarray, where: str) -> None:
        """Compare logits [batch, classes].

        Raises:
            ParityError: they differ by more than the tolerances, or name another class where there is no tie.
        """
        with np.errstate(invalid="ignore"):
            difference = np.abs(expected - actual)
            allowed = self.atol + self.rtol * np.abs(expected)
            excess = np.where(np.isfinite(difference), difference - allowed, np.inf)
        if (excess > 0).any():
            worst = np.unravel_index(excess.argmax(), excess.shape)
            raise ParityError(
                f"onnxruntime and torch disagree on {where}: logit {actual[worst]:.6g} instead of "
                f"{expected[worst]:.6g}, difference {difference[worst]:.2g}, allowed {allowed[worst]:.2g} "
                "(export.rtol, export.atol). No model was written."
            )
        changed = expected.argmax(1) != actual.argmax(1)
        # Within the tolerances another class can only win where the two best logits were as good as equal.
        self.ties += int(changed.sum())
        self.compared += len(expected)
        self.largest = max(self.largest, float(difference.max()))


@torch.inference_mode()
def check_parity(
    model: OnnxModel, reference: nn.Module, dataset: Dataset, rows: np.ndarray, differences: Differences
) -> np.ndarray:
    """onnxruntime's logits, float32 [len(rows), classes], after they were compared with the reference's.

    reference: uint8 [batch, height, width, 3] → (logits, probabilities), in torch. All rows are compared in batches of
    many; some of them one by one, in pairs, and at other sizes than their own.

    Raises:
        ParityError: the two disagree.
    """
    logits = [
        _compare(model, reference, stack, differences, "the test split") for stack in pixel_stacks(dataset, rows, _MANY)
    ]
    for pixels, what in _variations(dataset, rows[:_FEW]):
        _compare(model, reference, pixels, differences, what)
    return np.concatenate(logits)


def _compare(
    model: OnnxModel, reference: nn.Module, pixels: np.ndarray, differences: Differences, where: str
) -> np.ndarray:
    expected, _ = reference(torch.from_numpy(pixels))
    actual, probabilities = model.predict(pixels)
    differences.add(
        expected.numpy(), actual, f"{where}, batch {len(pixels)}, {pixels.shape[1]}×{pixels.shape[2]} pixels"
    )
    if not np.allclose(probabilities.sum(1), 1, atol=1e-4):
        raise ParityError(f"The probabilities of {where} do not add up to 1. No model was written.")
    return actual


def _variations(dataset: Dataset, rows: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    for size in (1, 2):
        for stack in pixel_stacks(dataset, rows, size):
            yield stack, "single images" if size == 1 else "pairs"
    for stack in pixel_stacks(dataset, rows[:_SHOWN], 1):
        for scale in _SCALES:
            yield _stretched(stack, scale), "resized images"


def _stretched(pixels: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """The same images with other sides, each pixel repeated or left out."""
    y, x = (np.arange(max(1, round(side * factor))) * side // max(1, round(side * factor))
            for side, factor in zip(pixels.shape[1:3], scale, strict=True))  # fmt: skip
    return np.ascontiguousarray(pixels[:, y][:, :, x])


def check_metrics(logits: np.ndarray, labels: np.ndarray, metrics: dict[str, Any]) -> float:
    """Accuracy of the logits, which must be the accuracy that `test` found.

    Raises:
        ParityError: it is another.
    """
    accuracy = float((logits.argmax(1) == labels).mean())
    if round(abs(accuracy - metrics["accuracy"]) * len(labels)) > 0:
        raise ParityError(
            f"onnxruntime reaches a test accuracy of {accuracy:.6f} where `test` found {metrics['accuracy']:.6f}. "
            "No model was written."
        )
    return accuracy
