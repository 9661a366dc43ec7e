"""The model card: all that the contract asks for, and code that runs as it stands."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from PIL import ExifTags, Image

from lightline import __version__
from lightline.checkpoint import Checkpoint
from lightline.model_card import model_card
from lightline.onnx_model import OnnxModel
from lightline.params import Export
from tests.samples import CLASSES, make_checkpoint, model_settings, random_pixels

METRICS = {"accuracy": 0.98765432, "auroc": None, "interval": {"lower": 0.97, "upper": 0.99}, "images": 270}
SPLITS = {"train": 1257, "val": 270, "test": 270}
SETTINGS = Export(
    opset=20,
    rtol=1e-3,
    atol=1e-8,
    test_rtol=0.05,
    quantize=[],
    calibration_images=64,
    max_accuracy_drop=0.005,
    latency=True,
    intended_use="Sorting animals.",
    limits="Not for größe of 5 | 6.",
)
LATENCY = "| a table |"


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return make_checkpoint(model_settings(crop_pct=0.875))


@pytest.fixture(scope="module")
def card(checkpoint: Checkpoint) -> str:
    return model_card(checkpoint, SPLITS, METRICS, SETTINGS, LATENCY)


def section(card: str, title: str) -> str:
    return card.split(f"## {title}\n")[1].split("\n## ")[0]


def test_it_says_what_identifies_the_model(card, checkpoint):
    assert card.startswith("# cnn: a classifier of 3 classes\n")
    for part in (checkpoint.fingerprint, checkpoint.dataset, f"Lightline {__version__}"):
        assert part in card.split("## ")[0]


def test_it_says_what_it_is_for_and_what_not(card):
    assert section(card, "Intended use").strip() == "Sorting animals."
    assert section(card, "Limits").strip() == "Not for größe of 5 | 6."


def test_it_holds_the_metrics_in_a_table(card):
    rows = section(card, "Metrics on the test split").strip().splitlines()
    assert rows == [
        "| metric | value |",
        "|---|---|",
        "| accuracy | 0.9877 |",
        "| auroc | None |",
        "| interval | lower 0.9700, upper 0.9900 |",
        "| images | 270 |",
    ]


def test_it_holds_data_parameters_and_preprocessing(card, checkpoint):
    data = section(card, "Data")
    assert "1,257 train, 270 val, 270 test images" in data
    assert ", ".join(CLASSES) in data
    training = section(card, "Training")
    assert json.loads(re.findall(r"```json\n(.*?)\n```", training, re.DOTALL)[0]) == checkpoint.params
    num_parameters = sum(parameter.numel() for parameter in checkpoint.network().parameters())
    assert f"{num_parameters:,}" in training
    assert "epoch 3 was the best" in training
    interface = section(card, "Input and output")
    for part in (
        "[batch, 3]",
        "16×16 pixels",
        "87.5% of its side",
        "(0.5000, 0.4000, 0.3000)",
        "(0.2000, 0.2500, 0.3000)",
    ):
        assert part in interface


def test_it_holds_what_was_measured(card):
    assert section(card, "Latency").strip() == LATENCY
    assert "Quantisation" not in card


def test_the_card_of_the_int8_file_names_it_and_says_what_became_of_it(checkpoint):
    card = model_card(checkpoint, SPLITS, METRICS, SETTINGS, LATENCY, "As right as ever.")
    assert card.startswith("# cnn in int8: a classifier of 3 classes\n")
    assert section(card, "Quantisation").strip() == "As right as ever."
    assert 'InferenceSession("models/model.int8.onnx")' in section(card, "How to load it")


def test_of_many_classes_it_lists_the_first(checkpoint):
    many = replace(checkpoint, classes=[f"class-{number}" for number in range(1000)])
    data = section(model_card(many, SPLITS, METRICS, SETTINGS, LATENCY), "Data")
    assert "class-49 and 950 more." in data
    assert "class-50" not in data


def test_its_code_runs_as_it_stands_and_answers_as_the_model_does(exported, tmp_path, monkeypatch, capsys):
    checkpoint, path = exported("cnn", crop_pct=0.9)
    (tmp_path / "models").mkdir()
    shutil.copy(path, tmp_path / "models" / "model.onnx")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = tmp_path / "image.jpg"
    Image.fromarray(random_pixels(40, 33, 3)).save(photo, exif=exif)
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", model_card(checkpoint, SPLITS, METRICS, SETTINGS, LATENCY), re.DOTALL)[0]
    assert len(code.splitlines()) <= 10
    exec(compile(code, "model card", "exec"), {})
    name, probability = capsys.readouterr().out.split()
    expected = OnnxModel(path).classify(photo.read_bytes())
    assert (name, float(probability)) == (expected[0], pytest.approx(expected[1], abs=1e-6))


def test_it_is_the_same_each_time(card, checkpoint):
    assert model_card(checkpoint, SPLITS, METRICS, SETTINGS, LATENCY) == card
    assert card.endswith("\n")
    assert "\r" not in card
