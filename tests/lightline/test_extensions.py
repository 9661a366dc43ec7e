"""What is made of a name: by which arguments, and what is said where it is not what it must be."""

from pathlib import Path

import pytest
import torch

from lightline.config.model import model_settings
from lightline.errors import ParameterError
from lightline.extensions import build_extension
from lightline.models.build import build_network
from tests.support.own_code import write_extensions
from tests.support.samples import make_checkpoint

pytestmark = pytest.mark.usefixtures("own_folder")

NET = """
from torch import nn

@model("my_net")
class MyNet(nn.Module):
    def __init__(self, num_classes, input_size, width=4):
        super().__init__()
        self.head = nn.LazyLinear(num_classes)
        self.size, self.width = input_size, width

    def forward(self, images):
        return RETURN
"""
LOGITS = "self.head(images.flatten(1))"


def net(monkeypatch, returns: str = LOGITS, **settings):
    write_extensions(monkeypatch, model=NET.replace("RETURN", returns))
    basis = {"input_size": 16, "crop_pct": 1.0, "normalize": "dataset", "test_time_augmentation": "none"}
    basis |= {"weights": None, "weights_sha256": None}
    return model_settings({"name": "my_net", **basis, "settings": settings})


def test_a_network_gets_the_classes_the_size_and_its_settings(monkeypatch):
    network = build_network(net(monkeypatch, width=9), 3)
    assert (network.size, network.width, network.training) == (16, 9, True)
    assert network(torch.zeros(5, 3, 16, 16)).shape == (5, 3)


def test_a_checkpoint_builds_it_again(monkeypatch):
    checkpoint = make_checkpoint(net(monkeypatch, width=9))
    images = torch.rand(2, 3, 16, 16)
    once, again = (checkpoint.network().eval()(images) for _ in range(2))
    assert torch.equal(once, again)
    assert once.abs().max() > 0


@pytest.mark.parametrize(
    ("returns", "found"),
    [("images", r"\[2, 3, 16, 16\]"), ("self.head(images.flatten(1))[:1]", r"\[1, 3\]"),
     ("(images, images)", "tuple"), ("None", "NoneType")],
)  # fmt: skip
def test_what_gives_no_logits_is_named(returns, found, monkeypatch):
    message = rf"my_net', MyNet of extensions/models/mine.py:6, makes {found} of images \[2, 3, 16, 16\]; .* \[2, 3\]"
    with pytest.raises(ParameterError, match=message):
        build_network(net(monkeypatch, returns), 3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"widht": 3}, "got an unexpected keyword argument 'widht'"), ({"num_classes": 3}, "got multiple values for key")],
)
def test_settings_that_it_does_not_take(settings, said, monkeypatch):
    with pytest.raises(ParameterError) as caught:
        build_network(net(monkeypatch, **settings), 3)
    assert str(caught.value).startswith(
        "model 'my_net', MyNet of extensions/models/mine.py:6, cannot take its settings:"
    )
    assert said in str(caught.value)
    assert str(caught.value).endswith("It is MyNet(num_classes, input_size, width=4).")


def test_an_error_inside_stays_what_it_is(monkeypatch):
    settings = net(monkeypatch, "images + 'x'")
    with pytest.raises(TypeError, match="unsupported operand"):
        build_network(settings, 3)
    write_extensions(monkeypatch, callback="@callback('a')\ndef make():\n    return len(3)\n")
    with pytest.raises(TypeError, match="has no len"):
        build_extension("callback", "a", {})


@pytest.mark.parametrize(
    ("kind", "mark"),
    [("model", "state_dict"), ("callback", "state_key"), ("source", "identity"), ("metric", "__call__"),
     ("augmentation", "__call__")],
)  # fmt: skip
def test_what_is_none_of_its_kind(kind, mark, monkeypatch):
    write_extensions(monkeypatch, **{kind: f"@{kind}('a')\nclass My:\n    pass\n"})
    message = f"{kind} 'a', My of extensions/{kind}s/mine.py:3, has no {mark}; docs/extensions.md says what it must be."
    with pytest.raises(ParameterError) as caught:
        build_extension(kind, "a", {})
    assert str(caught.value) == message


def test_only_the_file_of_the_name_is_imported(monkeypatch):
    write_extensions(monkeypatch, source="@source('a')\nclass My:\n    identity = 1\n", model="raise SystemExit\n")
    Path("extensions/sources/other.py").write_text("raise SystemExit\n")
    assert build_extension("source", "a", {}).identity == 1


WORST = """
@metric("worst")
def worst(logits, labels, of=2):
    return float((logits.argmax(1) != labels).sum()) * of
"""


def test_a_metric_may_be_the_function_itself(monkeypatch):
    write_extensions(monkeypatch, metric=WORST)
    logits, labels = torch.eye(3), torch.tensor([0, 2, 2])
    assert build_extension("metric", "worst", {}, num_classes=3)(logits, labels) == 2
    assert build_extension("metric", "worst", {"of": 5}, num_classes=3)(logits, labels) == 5
    with pytest.raises(
        ParameterError, match=r"cannot take its settings: got an unexpected .*'off'.* worst\(logits, labels"
    ):
        build_extension("metric", "worst", {"off": 5}, num_classes=3)
