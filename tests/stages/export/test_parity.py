"""The gate: it lets a right file pass and stops every fault that was planted."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from lightline.data.dataset import Dataset, pixel_stacks
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.models.checkpoint import Checkpoint
from lightline.models.transforms import CropAndResize
from lightline_predict.classifier import Classifier
from stages.export.parity import TORCH, Differences, ParityError, check_parity, typical_spread
from tests.support.samples import CLASSES, random_pixels, save_dataset

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
    return PixelClassifier(checkpoint.network(), checkpoint.preprocessing).eval()


class Scaled(nn.Module):
    """A reference whose logits are so many times as large."""

    def __init__(self, reference: nn.Module, scale: float):
        super().__init__()
        self.reference, self.scale = reference, scale

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.reference(image)[0] * self.scale
        return logits, logits.softmax(1)


def scaled_file(path: Path, scale: float) -> Path:
    """The same file with its last layer so many times as large."""
    target = path.parent.with_name(f"{path.parent.name}-scaled") / f"{scale}.onnx"
    target.parent.mkdir(exist_ok=True)
    if not target.exists():
        model = onnx.load(path)
        head = [one for one in model.graph.initializer if re.search(r"\.(classes|fc)\.", one.name)]
        assert len(head) == 2
        for constant in head:
            constant.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(constant) * np.float32(scale), constant.name)
            )
        onnx.save(model, target)
    return target


def check(
    path: Path, dataset: Dataset, reference: nn.Module, rows: np.ndarray = ROWS, scale: float = 1
) -> tuple[np.ndarray, Differences]:
    model = Classifier(scaled_file(path, scale), num_threads=1)
    tested = np.concatenate([model.predict(pixels)[0] for pixels in pixel_stacks(dataset, rows)])
    differences = Differences(TORCH, "export.rtol", 1e-3, 1e-8, typical_spread(tested), list(CLASSES))
    return check_parity(model, Scaled(reference, scale), dataset, rows, differences), differences


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
    assert 0 < differences.used < 0.1


@pytest.mark.parametrize("scale", [0.01, 100])
@pytest.mark.parametrize("views", ["none", "mirror_and_shift"])
def test_a_right_file_passes_whatever_the_size_of_its_logits_and_the_number_of_views(scale, views, exported, dataset):
    checkpoint, path = exported("cnn", **CNN, test_time_augmentation=views)
    _, differences = check(path, dataset, right_reference(checkpoint), scale=scale)
    assert differences.used < 0.1


class Faulty(PixelClassifier):
    """A reference that differs from the exported network in one thing."""

    def __init__(self, checkpoint: Checkpoint, before: Callable | None = None, after: Callable | None = None):
        super().__init__(checkpoint.network(), checkpoint.preprocessing)
        self.before, self.after = before, after
        self.eval()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = super().forward(self.before(image) if self.before else image)[0]
        logits = self.after(logits, image) if self.after else logits
        return logits, logits.softmax(1)


def preprocessed(checkpoint: Checkpoint, **changes) -> PixelClassifier:
    values = replace(checkpoint.preprocessing, **changes)
    return PixelClassifier(checkpoint.network(), values).eval()


class NotAntialiased(CropAndResize):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        side = int(min(images.shape[1:3]) * self.crop_pct)
        top, left = (images.shape[1] - side) // 2, (images.shape[2] - side) // 2
        square = images[:, top : top + side, left : left + side].permute(0, 3, 1, 2).float()
        return functional.interpolate(square, self.input_size, mode="bilinear").permute(0, 2, 3, 1)


def plain_resize(checkpoint: Checkpoint) -> PixelClassifier:
    reference = right_reference(checkpoint)
    reference.transform[0] = NotAntialiased(checkpoint.preprocessing.input_size, checkpoint.preprocessing.crop_pct)
    return reference


def changed_weight(checkpoint: Checkpoint) -> PixelClassifier:
    reference = right_reference(checkpoint)
    with torch.no_grad():
        list(reference.network.parameters())[-1][0] += 0.01
    return reference


def one_view(checkpoint: Checkpoint) -> PixelClassifier:
    """Against a file that takes the mean over several."""
    network = checkpoint.network()
    return PixelClassifier(getattr(network, "network", network), checkpoint.preprocessing).eval()


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


@pytest.mark.parametrize("scale", [0.01, 100])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, scale, exported, dataset):
    checkpoint, path = exported("cnn", **CNN)
    with pytest.raises(
        ParityError, match=r"disagree on .*, batch \d+, \d+×\d+ pixels: logit .* No model was written\."
    ):
        check(path, dataset, FAULTS[fault](checkpoint), scale=scale)


@pytest.mark.parametrize("scale", [0.01, 100])
def test_a_view_that_was_left_out_is_found(scale, exported, dataset):
    checkpoint, path = exported("cnn", **CNN, test_time_augmentation="mirror_and_shift")
    with pytest.raises(ParityError, match="disagree on the test split"):
        check(path, dataset, one_view(checkpoint), scale=scale)


@pytest.mark.parametrize("scale", [0.01, 100])
def test_batch_normalisation_in_training_mode_is_found(scale, exported, dataset):
    checkpoint, path = exported("resnet18", **RESNET)
    rows = ROWS[:3]
    check(path, dataset, right_reference(checkpoint), rows, scale)
    with pytest.raises(ParityError):
        check(path, dataset, right_reference(checkpoint).train(), rows, scale)


@pytest.mark.parametrize("fault", ["probabilities", "confidence", "accepted", "set"])
def test_answers_that_the_logits_do_not_make_are_found(fault, exported, dataset, monkeypatch):
    checkpoint, path = exported("cnn", **CNN)
    faults = {
        "probabilities": lambda given: given["logits"],
        "confidence": lambda given: given["probabilities"].min(1),
        "accepted": lambda given: ~given["accepted"],
        "set": lambda given: ~given["set"],
    }
    right = Classifier.outputs
    monkeypatch.setattr(
        Classifier, "outputs", lambda *arguments: (given := right(*arguments)) | {fault: faults[fault](given)}
    )
    with pytest.raises(ParityError, match=rf"the file's {fault} are not what its logits make"):
        check(path, dataset, right_reference(checkpoint))
