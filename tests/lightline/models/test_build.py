"""Networks by name: their shapes, first and last layers, and what is said of those that cannot be built."""

import re
import sys

import pytest
import torch
import torchvision
from torch import nn

from lightline.config.model_names import TORCHVISION_MODELS
from lightline.errors import ParameterError
from lightline.models.build import build_network, start_network
from tests.support.families import FAMILIES
from tests.support.samples import model_settings


@pytest.fixture(autouse=True)
def no_initialisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights take most of the time and matter to no test here."""
    for name in ("kaiming_uniform_", "kaiming_normal_", "trunc_normal_", "normal_", "uniform_", "xavier_uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor.data.zero_())


def test_the_names_are_torchvision_s():
    assert set(TORCHVISION_MODELS) == set(torchvision.models.list_models(module=torchvision.models))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_small_images_and_gives_a_logit_a_class(name):
    network = build_network(model_settings(name, input_size=32), 7)
    assert network.training  # batch normalisation and dropout as training needs them
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in network.parameters())
    with torch.no_grad():
        assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_the_cnn_is_the_tutorial_s():
    network = build_network(model_settings("cnn", input_size=32), 10)
    layers = [layer for layer in network if not isinstance(layer, nn.ReLU)]
    kinds = [nn.Conv2d, nn.Conv2d, nn.MaxPool2d, nn.Conv2d, nn.Conv2d, nn.MaxPool2d, nn.Flatten, *[nn.Linear] * 3]
    assert [type(layer) for layer in layers] == kinds
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [32, 32, 64, 64]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [512, 128, 10]
    assert sum(parameter.numel() for parameter in network.parameters()) == 952_234
    weighted = [type(layer) for layer in network]
    assert weighted.count(nn.ReLU) == 6  # after every layer but the pools and the last


@pytest.mark.parametrize("input_size", [16, 17, 28, 33, 64])
def test_the_cnn_fits_any_size(input_size):
    network = build_network(model_settings(input_size=input_size), 3)
    assert network(torch.zeros(1, 3, input_size, input_size)).shape == (1, 3)


@pytest.mark.parametrize(
    ("stem", "input_size", "small"),
    [("auto", 64, True), ("auto", 65, False), ("small", 224, True), ("standard", 32, False)],
)
def test_the_stem_of_a_resnet(stem, input_size, small):
    network = build_network(model_settings("resnet18", stem=stem, input_size=input_size), 3)
    conv1, maxpool = network.conv1, network.maxpool
    assert (conv1.kernel_size, conv1.stride) == (((3, 3), (1, 1)) if small else ((7, 7), (2, 2)))
    assert isinstance(maxpool, nn.Identity) == small


@pytest.mark.parametrize("name", ["vgg11", "squeezenet1_1", "densenet121", "mobilenet_v3_small", "timm/test_resnet"])
def test_a_small_stem_halves_no_side_before_the_first_block(name):
    network = build_network(model_settings(name, stem="small", input_size=32), 3)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    assert first.stride == (1, 1)


def test_patches_stay_as_they_are():
    network = build_network(model_settings("vit_b_32", stem="small", input_size=64), 3)
    assert network.conv_proj.stride == (32, 32)


def test_the_same_seed_builds_the_same_network(monkeypatch):
    monkeypatch.undo()
    networks = []
    for _ in range(2):
        torch.manual_seed(5)
        networks.append(build_network(model_settings("shufflenet_v2_x0_5"), 4).state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])
    assert any(value.std() > 0 for value in networks[0].values() if value.ndim > 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "vit_b_32", "input_size": 40}, ["vit_b_32", "40", "patch size"]),
        ({"name": "maxvit_t", "input_size": 32}, ["maxvit_t", "32", "partition size"]),
        ({"name": "alexnet", "input_size": 32, "stem": "standard"}, ["alexnet", "'standard'", "32", "too small"]),
        ({"name": "vgg11", "input_size": 16}, ["vgg11", "16", "too small"]),
        ({"name": "resnet18", "weights": "IMAGENET"}, ["model.weights", "'IMAGENET'", "null, IMAGENET1K_V1, DEFAULT"]),
        ({"name": "timm/nothing"}, ["timm/nothing", "no such model"]),
        ({"name": "timm/test_resnet", "weights": "r160_in1k"}, ["model.weights", "r160_in1k", "DEFAULT"]),
        ({"name": "timm/test_vit", "input_size": 24}, ["timm/test_vit", "24", "divisible"]),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_what_cannot_be_built_is_said_with_its_settings(settings, said):
    with pytest.raises(ParameterError) as caught:
        start_network(model_settings(**settings), 3, None)
    for part in said:
        assert part in str(caught.value)


def test_weights_that_cannot_be_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # where nobody listens
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    there = f"{tmp_path}/checkpoints/mnasnet0.5_top1_67.823-3ffadce67e.pth"
    said = rf"'DEFAULT' of mnasnet0_5 cannot be fetched .* lie in {re.escape(there)}.*model\.weights to the path"
    with pytest.raises(ParameterError, match=said):
        start_network(model_settings("mnasnet0_5", weights="DEFAULT"), 3, None)


def test_a_checkpoint_s_network_is_built_without_its_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    network = build_network(model_settings("mnasnet0_5", weights="DEFAULT"), 3)
    assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 3)


def test_without_timm_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # importing it fails as where it is not installed
    with pytest.raises(ParameterError, match=r"timm/test_vit.*pip install timm"):
        build_network(model_settings("timm/test_vit"), 3)
