"""A network, a callback and an augmentation of extensions/ in training: stopped anywhere, it goes on exactly."""

from pathlib import Path

import pytest
import torch

from lightline.errors import ParameterError
from stages.train.augmentation import Augmentation
from tests.support.own_code import write_extensions
from tests.support.tiny import tiny_params, train

pytestmark = pytest.mark.usefixtures("own_folder")

MODEL = """
from torch import nn

@model("my_net")
def my_net(num_classes, input_size, width):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Dropout(), nn.Linear(width * 14**2, num_classes))
"""
# What it remembers changes the weights: a state that is lost is seen.
CALLBACK = """
from lightning.pytorch import Callback

@callback("shrink")
class Shrink(Callback):
    def __init__(self, stop_at=-1):
        self.steps, self.stop_at = 0, stop_at

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.steps == STOP_AT:
            raise RuntimeError("my own error")
        self.steps += 1
        for weight in pl_module.parameters():
            weight.data.mul_(1 - 0.01 / self.steps)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state_dict):
        self.steps = state_dict["steps"]
"""
AUGMENTATION = """
from stages.train.randomness import uniform

@augmentation("dark")
def dark(share):
    def darken(images, rows, epoch, seed):
        chosen = uniform(seed, epoch, rows, 1)[:, 0] < share
        images[chosen] //= 2
        return images
    return darken
"""
DARK = {"name": "dark", "settings": {"share": 0.5}}


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for place in ("models", "reports") for path in Path(place).rglob("*.*")}


def mine(monkeypatch, stop_at: int = -1, **changes):
    write_extensions(
        monkeypatch, model=MODEL, callback=CALLBACK.replace("STOP_AT", str(stop_at)), augmentation=AUGMENTATION
    )
    basis = {
        "model__name": "my_net", "model__settings": {"width": 4}, "trainer__callbacks": ["shrink"],
        "augment__transforms": [DARK, DARK], "augment__random_crop_padding": 0,
        "trainer__max_epochs": 3, "checkpoint__every_n_train_steps": 1,
    }  # fmt: skip
    return tiny_params(**basis | changes)


@pytest.mark.parametrize("stops", [(2, 6), (3, 7)], ids=str)
def test_wherever_it_was_stopped(stops, monkeypatch):
    train(mine(monkeypatch))
    expected = outputs()
    for stop in stops:
        with pytest.raises(RuntimeError, match="my own error"):
            train(mine(monkeypatch, stop))
    train(mine(monkeypatch))
    assert outputs() == expected


def test_each_of_them_has_a_say(monkeypatch):
    results = {}
    for name, changes in {
        "all": {},
        "no callback": {"trainer__callbacks": []},
        "no augmentation": {"augment__transforms": []},
        "one": {"augment__transforms": [DARK]},
        "wider": {"model__settings": {"width": 5}},
    }.items():
        train(mine(monkeypatch, **changes))
        results[name] = outputs()["reports/train/history.csv"]
    assert len(set(results.values())) == len(results)


IMAGES, ROWS = torch.arange(4 * 8 * 8 * 3, dtype=torch.int64).to(torch.uint8).view(4, 8, 8, 3), torch.arange(4)


def augmented(monkeypatch, code: str) -> torch.Tensor:
    write_extensions(
        monkeypatch, augmentation=f"@augmentation('my')\ndef my():\n    return lambda i, r, e, s: {code}\n"
    )
    settings = tiny_params(augment__transforms=["my"], augment__random_crop_padding=0).augment
    return Augmentation(settings, 1, 3, 8, torch.ones(4)).on_pixels(IMAGES.clone(), ROWS, 2)


def test_it_gets_pixels_rows_and_epoch(monkeypatch):
    added = (ROWS + 2).to(torch.uint8)[:, None, None, None]
    assert torch.equal(augmented(monkeypatch, "i + (r + e).to(i)[:, None, None, None]"), IMAGES + added)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("i / 255", r"'my' makes torch.float32 \[4, 8, 8, 3\] of torch.uint8 \[4, 8, 8, 3\]"),
        ("i[:, :4]", r"'my' makes torch.uint8 \[4, 4, 8, 3\] of torch.uint8 \[4, 8, 8, 3\]"),
    ],
)
def test_another_shape_or_type_is_refused(code, said, monkeypatch):
    with pytest.raises(ParameterError, match=said):
        augmented(monkeypatch, code)
