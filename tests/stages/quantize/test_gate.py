"""The int8 gate: what it counts, what it lets pass and what it says of what it stops."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lightline.data.dataset import Dataset
from lightline_predict.classifier import Classifier
from stages.quantize.gate import Comparison, Quantization, compare, logits_of
from stages.quantize.int8 import QuantizationError
from tests.support.samples import CLASSES, random_pixels, save_dataset

NUM_IMAGES = 70  # more than a batch
ROWS = np.arange(NUM_IMAGES)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Images of two sizes, the classes in turn."""
    pictures = [random_pixels(*((40, 30) if row % 8 == 7 else (24, 20)), 3, seed=row) for row in range(NUM_IMAGES)]
    return save_dataset(tmp_path / "dataset", pictures)


@pytest.fixture
def model(exported) -> Classifier:
    return Classifier(exported("cnn", crop_pct=0.9)[1], num_threads=1)


def labelled(dataset: Dataset, model: Classifier, num_wrong: int) -> tuple[np.ndarray, np.ndarray]:
    """Give logits, and as labels the classes that they name, but for the last few images, which get others."""
    logits = logits_of(model, dataset, ROWS)
    expected = np.concatenate([model.predict(dataset.pixels(row)[None])[0] for row in ROWS])
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    labels = logits.argmax(1)
    labels[NUM_IMAGES - num_wrong :] = (labels[NUM_IMAGES - num_wrong :] + 1) % len(CLASSES)
    return logits, labels


def changed(logits: np.ndarray, images: int) -> np.ndarray:
    """As of a file that lost accuracy: other answers to the first images."""
    return np.concatenate([np.roll(logits[:images], 1, axis=1), logits[images:]])


def test_a_file_that_answers_alike_passes_the_strictest_bound(dataset, model):
    logits, labels = labelled(dataset, model, num_wrong=7)
    found = compare(logits, logits, labels, 0.0)
    assert (found.fp32, found.int8, found.agreement, found.drop) == (0.9, 0.9, 1.0, 0.0)


def test_the_bound_is_what_may_just_be_lost(dataset, model):
    logits, labels = labelled(dataset, model, num_wrong=0)
    found = compare(logits, changed(logits, 7), labels, 0.1)
    assert (found.fp32, found.int8, found.agreement) == (1.0, 0.9, 0.9)
    with pytest.raises(QuantizationError) as caught:
        compare(logits, changed(logits, 8), labels, 0.1)
    for part in (
        "accuracy of 0.885714 where fp32 has 1.000000, a drop of 0.114286; export.max_accuracy_drop allows 0.1.",
        "No int8 file was written.",
        "export.calibration_images",
        "export.quantize=[]",
    ):
        assert part in str(caught.value)


def test_answers_that_are_no_numbers_are_stopped(dataset, exported, tmp_path):
    damaged = onnx.load(exported("cnn", crop_pct=0.9)[1])
    bias = next(constant for constant in damaged.graph.initializer if constant.name.endswith("classes.bias"))
    bias.CopyFrom(numpy_helper.from_array(np.full(len(CLASSES), np.nan, np.float32), bias.name))
    onnx.save(damaged, tmp_path / "damaged.onnx")
    with pytest.raises(QuantizationError, match="answers with what is no number"):
        logits_of(Classifier(tmp_path / "damaged.onnx", num_threads=1), dataset, ROWS)


def test_the_report_and_the_card_say_what_was_found():
    quantization = Quantization(Comparison(0.95, 0.9475, 0.99), 256, 1_250_000, 5_000_000)
    assert quantization.metrics() == {
        "int8_accuracy": 0.9475,
        "int8_accuracy_drop": 0.0025,
        "int8_agreement": 0.99,
        "int8_calibration_images": 256,
        "int8_bytes": 1_250_000,
    }
    text = quantization.markdown()
    for part in ("256 training images", "0.9475", "0.9500", "99.00%", "1,250,000 bytes", "25.0% of fp32's", "VNNI"):
        assert part in text
