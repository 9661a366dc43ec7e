"""The gate: it lets a right file pass and stops every fault that was planted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lightline.checkpoint import Checkpoint
from lightline.dataset import Dataset
from lightline.onnx_export import PixelClassifier
from lightline.onnx_model import OnnxModel
from lightline.parity import Differences, ParityError, check_metrics, check_parity
from lightline.transforms import CropAndResize, Preprocessing
from tests.samples import random_pixels, save_dataset

NUM_IMAGES = 70  # more than the largest batch
CNN = {"crop_pct": 0.9}
RESNET = {"input_size": 16}
ROWS = np.arange(NUM_IMAGES)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """70 images of 24×20 pixels; every eighth is larger."""
    pictures = [random_pixels(*((40, 30) if row % 8 == 7 else (24, 20)), 3, seed=row) for row in range(NUM_IMAGES)]
    return save_dataset(tmp_path_factory.mktemp("parity") / "dataset", pictures)


def right_reference(checkpoint: Checkpoint) -> PixelClassifier:
    return PixelClassifier(checkpoint.network(), checkpoint.transform_settings()).eval()


def check(
    path: Path, dataset: Dataset, reference: nn.Module, rows: np.ndarray = ROWS
) -> tuple[np.ndarray, Differences]:
    differences = Differences(rtol=1e-3, atol=1e-5)
    return check_parity(OnnxModel(path, num_threads=1), reference, dataset, rows, differences), differences


def test_a_right_file_passes_and_gives_the_logits_of_all_rows(exported, dataset):
    checkpoint, path = exported("cnn", **CNN)
    reference = right_reference(checkpoint)
    logits, differences = check(path, dataset, reference)
    with torch.inference_mode():
        expected = [reference(torch.tensor(dataset.pixels(row))[None])[0][0].numpy() for row in ROWS]
    assert np.allclose(logits, expected, rtol=1e-3, atol=1e-5)
    # All rows, then 32 of them singly and in pairs, and 5 at three other sizes.
    assert differences.compared == NUM_IMAGES + 2 * 32 + 3 * 5
    assert 0 < differences.largest < 1e-3


class Faulty(PixelClassifier):
    """A reference that differs from the exported network in one thing."""

    def __init__(self, checkpoint: Checkpoint, before: Callable | None = None, after: Callable | None = None):
        super().__init__(checkpoint.network(), checkpoint.transform_settings())
        self.before, self.after = before, after
        self.eval()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, _ = super().forward(self.before(image) if self.before else image)
        logits = self.after(logits, image) if self.after else logits
        return logits, logits.softmax(1)


def preprocessed(checkpoint: Checkpoint, **changes) -> PixelClassifier:
    values = Preprocessing.from_dict(checkpoint.preprocessing | changes)
    return PixelClassifier(checkpoint.network(), values).eval()


class NotAntialiased(CropAndResize):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        side = int(min(images.shape[1:3]) * self.crop_pct)
        top, left = (images.shape[1] - side) // 2, (images.shape[2] - side) // 2
        square = images[:, top : top + side, left : left + side].permute(0, 3, 1, 2).float()
        return functional.interpolate(square, self.input_size, mode="bilinear")


def plain_resize(checkpoint: Checkpoint) -> PixelClassifier:
    reference = right_reference(checkpoint)
    reference.transform[0] = NotAntialiased(
        checkpoint.preprocessing["input_size"], checkpoint.preprocessing["crop_pct"]
    )
    return reference


def changed_weight(checkpoint: Checkpoint) -> PixelClassifier:
    reference = right_reference(checkpoint)
    with torch.no_grad():
        list(reference.network.parameters())[-1][0] += 0.01
    return reference


FAULTS: dict[str, Callable[[Checkpoint], nn.Module]] = {
    "another mean": lambda given: preprocessed(given, mean=[0.5, 0.4, 0.31]),
    "another standard deviation": lambda given: preprocessed(given, std=[0.2, 0.25, 0.29]),
    "channels swapped in normalisation": lambda given: preprocessed(given, mean=[0.3, 0.4, 0.5]),
    "another crop": lambda given: preprocessed(given, crop_pct=1.0),
    "channels swapped": lambda given: Faulty(given, before=lambda image: image.flip(3)),
    "mirrored": lambda given: Faulty(given, before=lambda image: image.flip(2)),
    "height and width swapped": lambda given: Faulty(given, before=lambda image: image.transpose(1, 2)),
    "no antialiasing": plain_resize,
    "another weight": changed_weight,
    "classes shifted": lambda given: Faulty(given, after=lambda logits, _: logits.roll(1, 1)),
    "probabilities for logits": lambda given: Faulty(given, after=lambda logits, _: logits.softmax(1)),
    "wrong for single images": lambda given: Faulty(given, after=lambda logits, _: logits + 0.1 * (len(logits) == 1)),
    "wrong for pairs": lambda given: Faulty(given, after=lambda logits, _: logits + 0.1 * (len(logits) == 2)),
    "wrong for many": lambda given: Faulty(given, after=lambda logits, _: logits + 0.1 * (len(logits) > 2)),
    "wrong when small": lambda given: Faulty(given, after=lambda logits, image: logits + 0.1 * (image.shape[1] < 20)),
    "wrong when large": lambda given: Faulty(given, after=lambda logits, image: logits + 0.1 * (image.shape[2] > 50)),
    "not a number": lambda given: Faulty(given, after=lambda logits, _: logits * float("nan")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, exported, dataset):
    checkpoint, path = exported("cnn", **CNN)
    with pytest.raises(
        ParityError, match=r"disagree on .*, batch \d+, \d+×\d+ pixels: logit .* No model was written\."
    ):
        check(path, dataset, FAULTS[fault](checkpoint))


def test_batch_normalisation_in_training_mode_is_found(exported, dataset):
    checkpoint, path = exported("resnet18", **RESNET)
    rows = ROWS[:3]
    check(path, dataset, right_reference(checkpoint), rows)
    with pytest.raises(ParityError):
        check(path, dataset, right_reference(checkpoint).train(), rows)


def test_probabilities_that_are_none_are_found(exported, dataset, monkeypatch):
    checkpoint, path = exported("cnn", **CNN)
    predict = OnnxModel.predict
    monkeypatch.setattr(OnnxModel, "predict", lambda model, pixels: (predict(model, pixels)[0],) * 2)
    with pytest.raises(ParityError, match="do not add up to 1"):
        check(path, dataset, right_reference(checkpoint))


def compare(expected: list, actual: list, rtol: float = 1e-3, atol: float = 1e-5) -> Differences:
    differences = Differences(rtol, atol)
    differences.add(np.array(expected, np.float32), np.array(actual, np.float32), "here")
    return differences


def test_differences_within_the_tolerances_are_counted():
    differences = compare([[100.0, 1.0], [2.0, 2.0]], [[100.05, 1.0], [2.0, 2.001]])
    assert differences.compared == 2
    assert differences.ties == 1  # the second has another winner, between equals
    assert differences.largest == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(
    ("actual", "said"),
    [
        ([[100.2, 1.0]], "logit 100.2 instead of 100, difference 0.2, allowed 0.1 "),
        ([[100.0, 1.01]], "logit 1.01 instead of 1, difference 0.01, allowed 0.001 "),
        ([[100.0, np.nan]], "logit nan instead of 1"),
        ([[np.inf, 1.0]], "logit inf instead of 100"),
        ([[np.nan, np.nan]], "logit nan instead of 100"),
    ],
)
def test_the_worst_difference_is_named(actual, said):
    with pytest.raises(ParityError) as caught:
        compare([[100.0, 1.0]], actual)
    assert f"disagree on here: {said}" in str(caught.value)


def test_a_network_that_answers_no_numbers_is_stopped_though_torch_agrees():
    with pytest.raises(ParityError, match="logit nan instead of nan"):
        compare([[np.nan, 1.0]], [[np.nan, 1.0]])


def test_the_metrics_must_be_those_that_test_found():
    logits = np.eye(4)[[0, 1, 2, 3, 0]]
    labels = np.array([0, 1, 2, 3, 3])
    assert check_metrics(logits, labels, {"accuracy": 0.8}) == 0.8
    assert check_metrics(logits, labels, {"accuracy": 0.8 + 1e-7}) == 0.8  # as rounding may leave it
    for wrong in (0.6, 1.0):
        with pytest.raises(ParityError, match=rf"accuracy of 0\.800000 where `test` found {wrong:.6f}"):
            check_metrics(logits, labels, {"accuracy": wrong})
