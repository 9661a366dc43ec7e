"""The model card: all that the contract asks for, and code that runs as it stands."""

import json
import re
from dataclasses import replace

import pytest

from lightline import __version__
from lightline.model_file.card import model_card
from lightline.models.checkpoint import Checkpoint
from tests.support.cards import METRICS, SECTIONS, SETTINGS, SPLITS
from tests.support.samples import CLASSES, make_checkpoint, model_settings


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return make_checkpoint(model_settings(crop_pct=0.875))


@pytest.fixture(scope="module")
def card(checkpoint: Checkpoint) -> str:
    return model_card(checkpoint, SPLITS, METRICS, SETTINGS, SECTIONS)


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
    assert section(card, "Latency").strip() == SECTIONS.latency
    assert section(card, "When it is sure").strip() == SECTIONS.decision
    assert "Quantisation" not in card


def test_the_card_of_the_int8_file_names_it_and_says_what_became_of_it(checkpoint):
    card = model_card(checkpoint, SPLITS, METRICS, SETTINGS, replace(SECTIONS, quantization="As right as ever."))
    assert card.startswith("# cnn in int8: a classifier of 3 classes\n")
    assert section(card, "Quantisation").strip() == "As right as ever."
    assert 'InferenceSession("models/model.int8.onnx")' in section(card, "How to load it")


def test_of_many_classes_it_lists_the_first(checkpoint):
    many = replace(checkpoint, classes=[f"class-{number}" for number in range(1000)])
    data = section(model_card(many, SPLITS, METRICS, SETTINGS, SECTIONS), "Data")
    assert "class-49 and 950 more." in data
    assert "class-50" not in data


def test_it_says_how_many_of_16_bits_are_in_use(card, checkpoint):
    assert "Of 16 bits a channel 16 are in use (`data.bit_depth`): 65535 is white." in section(card, "Input and output")
    other = model_card(checkpoint, SPLITS, METRICS, SETTINGS, SECTIONS, bit_depth=12)
    assert "12 are in use (`data.bit_depth`): 4095 and above is white." in section(other, "Input and output")


def test_it_is_the_same_each_time(card, checkpoint):
    assert model_card(checkpoint, SPLITS, METRICS, SETTINGS, SECTIONS) == card
    assert card.endswith("\n")
    assert "\r" not in card
