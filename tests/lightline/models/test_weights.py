"""Weights that a network starts from: what is read, what is taken, what identifies them, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from lightline.errors import ParameterError
from lightline.models.build import build_network, start_network
from lightline.models.checkpoint import save_checkpoint
from lightline.models.weights import read_weights, weights_configuration
from tests.support.samples import make_checkpoint, model_settings
from tests.support.weights import SMALL, saved, trained

CACHED = "shufflenetv2_x0.5-f707e7126e.pth"  # where torch.hub keeps its weights


def started(path: Path, name: str = SMALL, **changes: Any) -> tuple[nn.Module, str | None]:
    torch.manual_seed(5)
    return start_network(model_settings(name, weights=str(path), **changes), 3, read_weights(path))


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


WAYS: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "state_dict": lambda state: state,
    "checkpoint": lambda state: {"epoch": 3, "state_dict": state},
    "timm's, of which the average counts": lambda state: {"state_dict": {}, "state_dict_ema": state, "arch": "x"},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "DDP, compiled": lambda state: prefixed("module._orig_mod.", state),
    "compiled, DDP": lambda state: prefixed("_orig_mod.module.", state),
    "LightningModule": lambda state: {
        "state_dict": prefixed("model.", state) | {"loss.weight": torch.ones(2)},
        "pytorch-lightning_version": "2.6.6",
    },
    "AveragedModel": lambda state: prefixed("module.", state) | {"n_averaged": torch.tensor(3)},
    "without batch normalisation's counters": lambda state: {
        name: value for name, value in state.items() if not name.endswith("num_batches_tracked")
    },
    "a body alone": lambda state: {name: value for name, value in state.items() if not name.startswith("fc.")},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_people_have_as_weights_is_taken_but_for_its_head(way: str, tmp_path: Path, capsys):
    state = trained()
    network, digest = started(saved(WAYS[way](state), tmp_path / "some.pth"))
    for name, value in network.state_dict().items():
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[name]), name
    assert network.fc.weight.shape == (3, 1024)
    assert network.fc.weight.abs().mean() < 0.001  # as small as every new head
    assert network.training
    assert digest is not None
    told = "the head is new; left out of " + f"{tmp_path}/some.pth: fc.weight [1000, 1024], fc.bias [1000]\n"
    assert (told in capsys.readouterr().out) == (way != "a body alone")


def test_a_head_of_the_same_shape_is_new_too(tmp_path: Path, capsys):
    path = saved(trained(num_classes=3), tmp_path / "three.safetensors")
    network, _ = started(path)
    assert network.fc.weight.abs().mean() < 0.001
    assert "fc.weight [3, 1024]" in capsys.readouterr().out


def test_a_name_and_a_file_of_the_same_weights_start_the_same_network(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    state = trained()
    saved(state, tmp_path / "checkpoints" / CACHED)
    torch.manual_seed(5)
    named, digest = start_network(model_settings(SMALL, weights="DEFAULT"), 3, None)
    for suffix in ("pth", "safetensors"):
        network, of_file = started(saved(state, tmp_path / f"same.{suffix}"))
        assert of_file == digest
        body = {name: value for name, value in named.state_dict().items() if not name.startswith("fc.")}
        assert all(torch.equal(value, network.state_dict()[name]) for name, value in body.items())

    state["stage2.0.branch2.0.weight"][0, 0, 0, 0] += 1e-3
    assert started(saved(state, tmp_path / "other.pth"))[1] != digest
    state["fc.weight"] += 1
    assert started(saved(state, tmp_path / "head.pth"))[1] == started(tmp_path / "other.pth")[1]
    assert start_network(model_settings(SMALL), 3, None)[1] is None


def test_the_digest_is_the_same_whatever_is_random(tmp_path: Path):
    path = saved(trained("resnet18"), tmp_path / "weights.pth")
    settings, state = model_settings("resnet18", weights=str(path), stem="small"), read_weights(path)
    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        networks.append(start_network(settings, 3, state))
    (one, digest), (other, again) = networks
    assert digest == again
    assert not torch.equal(one.conv1.weight, other.conv1.weight)  # random: the weights' own is of another shape
    assert torch.equal(one.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])


@pytest.mark.parametrize("name", ["cnn", "airbench", "resnet18", "timm/test_resnet"])
def test_a_checkpoint_of_ours_is_a_start(name: str, tmp_path: Path):
    settings = model_settings(name, input_size=32)
    checkpoint = make_checkpoint(settings)
    save_checkpoint(checkpoint, tmp_path / "best.ckpt")
    network, digest = started(tmp_path / "best.ckpt", name, input_size=32)
    same = [torch.equal(value, checkpoint.state_dict[key]) for key, value in network.state_dict().items()]
    assert same.count(False) in (1, 2)  # the head's weight, and its bias where it has one
    assert digest is not None


def test_side_branches_of_an_inception_network_are_left_out_and_its_input_seen_as_its_weights_saw_it(tmp_path: Path):
    state = models.googlenet(weights=None, aux_logits=True, init_weights=False).state_dict()
    assert any(name.startswith("aux1.") for name in state)
    path = saved(state, tmp_path / "google.pth")
    network, _ = started(path, "googlenet", input_size=64)
    assert network.transform_input
    checkpoint_s = build_network(model_settings("googlenet", weights="google.pth", input_size=64), 3)
    assert checkpoint_s.transform_input
    assert not build_network(model_settings("googlenet", input_size=64), 3).transform_input


def test_timm_s_position_embeddings_come_to_the_size_of_the_image(tmp_path: Path):
    import timm

    small = timm.create_model("test_vit", img_size=64, num_classes=5)
    path = saved(small.state_dict(), tmp_path / "vit.safetensors")
    network, _ = started(path, "timm/test_vit", input_size=160)
    assert network.pos_embed.shape[1] > small.pos_embed.shape[1]
    assert torch.equal(network.blocks[0].attn.qkv.weight, small.blocks[0].attn.qkv.weight)


def without(state: dict[str, torch.Tensor], *names: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: without(state, "conv1.0.weight"), r"layers 1 missing \(conv1\.0\.weight\)\. Choose"),
        (lambda state: state | {"more.weight": torch.ones(2)}, r"layers 1 unknown \(more\.weight\)\. "),
        (
            lambda state: state | {"conv5.0.weight": torch.ones(7, 2)},
            r"layers 1 of another shape \(conv5\.0\.weight \[7, 2\] instead of \[1024, 192, 1, 1\]\)\. ",
        ),
        (
            lambda _: trained("squeezenet1_1"),
            r"missing \(conv1\.0\.weight, .* and \d+ more\), \d+ unknown \(features\.0",
        ),
    ],
    ids=["missing", "unknown", "misshapen", "another network"],
)
def test_layers_that_do_not_fit_are_named(change, said: str, tmp_path: Path):
    path = saved(change(trained()), tmp_path / "weights.pth")
    with pytest.raises(ParameterError, match=said) as caught:
        started(path)
    assert f"model.weights = '{path}' does not fit" in str(caught.value)
    assert "the model.name that it is of" in str(caught.value)


def test_a_small_image_s_dense_layers_are_of_another_shape(tmp_path: Path):
    save_checkpoint(make_checkpoint(model_settings(input_size=32)), tmp_path / "best.ckpt")
    with pytest.raises(ParameterError, match=r"dense1\.weight \[512, 1600\] instead of \[512, 64\]\).*input_size"):
        started(tmp_path / "best.ckpt", "cnn", input_size=16)


@pytest.mark.parametrize(
    ("name", "weights", "numbers"),
    [
        ("resnet18", "DEFAULT", (224, 0.875, 0.485, "bilinear")),
        ("resnet18", None, (224, 0.875, 0.485, "bilinear")),
        ("resnet18", "some/file.pth", (224, 0.875, 0.485, "bilinear")),
        ("resnet50", "IMAGENET1K_V2", (224, 224 / 232, 0.485, "bilinear")),
        ("efficientnet_b1", "IMAGENET1K_V1", (240, 240 / 256, 0.485, "bicubic")),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", (384, 1.0, 0.485, "bicubic")),
        ("timm/tf_efficientnet_lite0", "DEFAULT", (224, 0.875, 0.5, "bicubic")),
        ("timm/tf_efficientnet_lite0", "./file.safetensors", (224, 0.875, 0.5, "bicubic")),
        ("timm/test_resnet.r160_in1k", "DEFAULT", (160, 0.95, 0.5, "bilinear")),
    ],
)
def test_how_weights_see_images(name: str, weights: str | None, numbers: tuple):
    found = weights_configuration(model_settings(name, weights=weights))
    assert (found.input_size, found.crop_pct, found.mean[0], found.interpolation) == numbers
    assert len(found.mean) == len(found.std) == 3


def test_timm_s_weights_would_have_to_lie_in_the_hub_s_cache(tmp_path: Path, monkeypatch, capfd):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # or it would try for half a minute
    there = rf"{re.escape(str(tmp_path))}/models--timm--test_resnet\.r160_in1k"
    said = f"cannot be fetched .* lie in {there}, as .* path of a file"
    with pytest.raises(ParameterError, match=said):
        start_network(model_settings("timm/test_resnet", weights="DEFAULT"), 3, None)
