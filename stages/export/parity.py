"""The gate before a model file is let out: onnxruntime must answer from raw pixels as torch does, and as `test` did.

pixels uint8 [batch, height, width, 3] of the test split, in large batches, singly, in pairs, at other sizes
→ expected (torch, or what `test` wrote) and actual (onnxruntime): logits float32 [batch, classes]
→ allowed float [batch]: rtol × the larger of the image's spread of logits and the typical one, + atol
→ refused where |expected - actual| > allowed; a tie where the classes differ and the two best are that near
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn

from lightline.data.dataset import Dataset, pixel_stacks
from lightline.errors import DataError, LightlineError
from lightline.model_file.decision import Decision
from lightline.model_file.decision_metadata import read_decision
from lightline_predict.classifier import Classifier

PREDICTIONS = Path("reports/test/predictions.parquet")
_MANY = 64  # images in the largest batch
_FEW = 32  # images that are tried at batch 1 and 2, and at other sizes
_SCALES = ((0.5, 0.75), (1.5, 1.0), (2.0, 3.0))  # of height and width: smaller, larger, other proportions
_SHOWN = 5
_LARGEST = 2**24  # pixels of an image that is tried at another size


class ParityError(LightlineError):
    """The exported file answers otherwise than the network."""


@dataclass(frozen=True)
class Tie:
    """An image whose two best classes are so near to each other that rounding decides between them.

    source: whose answer is another one than the file's. lead: of its class's logit before that of the file's class.
    """

    id: str
    where: str
    source: str
    expected: str
    answered: str
    lead: float
    allowed: float


@dataclass
class Differences:
    """What was found between onnxruntime's logits and those that are expected.

    source: whose logits are expected; setting: the name of rtol, for messages.
    rtol: what is allowed, as a share of the spread of an image's logits: the largest less the smallest.
    typical: mean spread over the test split. An image between two classes has nearly equal logits, but they are sums of
        numbers as large as for any other image, and rounded like those: no image counts with less than this.
    atol: allowed beyond that, in logits; for a network that gives every class the same.
    """

    source: str
    setting: str
    rtol: float
    atol: float
    typical: float
    classes: list[str]
    compared: int = 0
    largest: float = 0.0  # in logits
    used: float = 0.0  # the largest, as a share of what was allowed
    ties: list[Tie] = field(default_factory=list)

    def add(self, expected: np.ndarray, actual: np.ndarray, ids: np.ndarray, where: str) -> None:
        """Compare logits, float [images, classes] each.

        Raises:
            ParityError: they differ by more than is allowed, or name another class where the two best are further from
                each other than that.
        """
        allowed = self.rtol * np.maximum(_spread(expected), self.typical) + self.atol
        with np.errstate(invalid="ignore"):
            difference = np.abs(expected.astype(np.float64) - actual)
            used = np.where(np.isfinite(difference), np.nan_to_num(difference / allowed[:, None]), np.inf)
        if (used > 1).any():
            row, column = np.unravel_index(used.argmax(), used.shape)
            raise self._refusal(
                f"{where}: logit {actual[row, column]:.6g} instead of {expected[row, column]:.6g} for image "
                f"{ids[row]!r} and class {self.classes[column]!r}, difference {difference[row, column]:.2g}",
                allowed[row],
            )
        self._compare_classes(expected, actual, ids, where, allowed)
        self.compared += len(expected)
        self.largest = max(self.largest, float(difference.max()))
        self.used = max(self.used, float(used.max()))

    def _compare_classes(
        self, expected: np.ndarray, actual: np.ndarray, ids: np.ndarray, where: str, allowed: np.ndarray
    ) -> None:
        best, answered = expected.argmax(1), actual.argmax(1)
        for row in np.flatnonzero(best != answered):
            lead = float(expected[row, best[row]]) - float(expected[row, answered[row]])
            wanted, found = self.classes[best[row]], self.classes[answered[row]]
            if lead > allowed[row]:
                raise self._refusal(
                    f"{where}: class {found!r} instead of {wanted!r}, whose logit is the larger by {lead:.2g}, for "
                    f"image {ids[row]!r}",
                    allowed[row],
                )
            numbers = (float(f"{number:.6g}") for number in (lead, allowed[row]))
            self.ties.append(Tie(str(ids[row]), where, self.source, wanted, found, *numbers))

    def _refusal(self, what: str, allowed: float) -> ParityError:
        return ParityError(
            f"onnxruntime and {self.source} disagree on {what}, allowed {allowed:.2g} ({self.setting} = {self.rtol:g} "
            f"of the spread of an image's logits). No model was written. {_HINTS[self.source]}"
        )


TORCH, TEST = "torch", "`test`"  # sources
_HINTS = {
    TORCH: "Another export.opset may help; a larger export.rtol lets such a file out.",
    TEST: "`dvc repro --force --single-item test` tests again on this machine; where its arithmetic is that coarse, a "
    "larger export.test_rtol allows it.",
}


def _spread(logits: np.ndarray) -> np.ndarray:
    """Compute the largest logit of each less the smallest, float64 [images]; no number where there is none."""
    with np.errstate(invalid="ignore"):
        return np.ptp(logits.astype(np.float64), axis=1)


def typical_spread(logits: np.ndarray) -> float:
    """Return the mean over the images of the spread of logits, float [images, classes]."""
    return float(_spread(logits).mean())


def read_predictions(ids: np.ndarray, path: Path = PREDICTIONS) -> np.ndarray:
    """Read the logits from which `test` predicted: float32 [images, classes].

    ids: of the test images, in the order of the split.

    Raises:
        DataError: they are those of other images.
    """
    table = pq.read_table(path, columns=["id", "logits"])
    if table["id"].to_pylist() != ids.tolist():
        raise DataError(f"{path} is of another test split; `dvc repro` brings them together.")
    return np.stack(table["logits"].to_numpy())


@torch.inference_mode()
def check_parity(
    model: Classifier, reference: nn.Module, dataset: Dataset, rows: np.ndarray, differences: Differences
) -> np.ndarray:
    """Compare onnxruntime's logits with the reference's, and return them: float32 [len(rows), classes].

    reference: uint8 [batch, height, width, 3] → logits and more, in torch. All rows are compared in batches of
    many; some of them one by one, in pairs, and at other sizes than their own.

    Raises:
        ParityError: the two disagree.
    """
    logits = [
        _compare(model, reference, pixels, differences, ids, "the test split")
        for ids, pixels in _stacks(dataset, rows, _MANY)
    ]
    for ids, pixels, what in _variations(dataset, rows[:_FEW]):
        _compare(model, reference, pixels, differences, ids, what)
    return np.concatenate(logits)


def _compare(
    model: Classifier, reference: nn.Module, pixels: np.ndarray, differences: Differences, ids: np.ndarray, what: str
) -> np.ndarray:
    expected = reference(torch.from_numpy(pixels))[0]
    given = model.outputs(pixels)
    where = f"{what}, batch {len(pixels)}, {pixels.shape[1]}×{pixels.shape[2]} pixels"
    differences.add(expected.numpy(), given["logits"], ids, where)
    check_answers(given, read_decision(model.metadata), where)
    return given["logits"]


def check_answers(given: dict[str, np.ndarray], decision: Decision, where: str) -> None:
    """Check what the file makes of its own logits: probabilities, confidence, what is accepted, sets.

    Raises:
        ParityError: one of them is otherwise than the same in numpy, by more than rounding.
    """
    logits = given["logits"]
    expected = decision.answers(logits)
    # Rounding of a float32 is as large as the number that goes into the exponential.
    rounding = 1e-6 * max(1.0, float(np.abs(logits).max()) / decision.temperature)
    near = np.abs(expected.confidence - decision.threshold) <= rounding
    near_set = np.abs(expected.probabilities - decision.set_threshold) <= rounding
    near_set |= expected.confidence[:, None] - expected.probabilities <= rounding
    agree = {
        "probabilities": np.abs(given["probabilities"] - expected.probabilities) <= rounding,
        "confidence": given["confidence"] == given["probabilities"].max(1),
        "accepted": (given["accepted"] == expected.accepted) | near,
        "set": (given["set"] == expected.set) | near_set,
    }
    for name, right in agree.items():
        if not right.all():
            raise ParityError(
                f"{where}: the file's {name} are not what its logits make with temperature {decision.temperature:g}, "
                f"threshold {decision.threshold:g} and set threshold {decision.set_threshold:g}. No model was written."
            )


def _stacks(dataset: Dataset, rows: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield images with their ids."""
    ids, start = dataset.column("id")[rows], 0
    for pixels in pixel_stacks(dataset, rows, most):
        yield ids[start : start + len(pixels)], pixels
        start += len(pixels)


def _variations(dataset: Dataset, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    for size in (1, 2):
        for ids, pixels in _stacks(dataset, rows, size):
            yield ids, pixels, "single images" if size == 1 else "pairs"
    for ids, pixels in _stacks(dataset, rows[:_SHOWN], 1):
        for height, width in _SCALES:
            if pixels.shape[1] * height * pixels.shape[2] * width <= _LARGEST:
                yield ids, _stretched(pixels, (height, width)), "resized images"


def _stretched(pixels: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Give the same images other sides, each pixel repeated or left out."""
    y, x = (np.arange(max(1, round(side * factor))) * side // max(1, round(side * factor))
            for side, factor in zip(pixels.shape[1:3], scale, strict=True))  # fmt: skip
    return np.ascontiguousarray(pixels[:, y][:, :, x])
