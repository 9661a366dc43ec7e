"""Optimizers and schedules by name."""

import itertools
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from lightline.models.build import build_network
from stages.train.muon import Muon
from stages.train.optimizers import build_optimizer, build_schedule, freeze_blocks
from tests.support.optimizers import ADAM, MUON, SGD, optimizer_settings, schedule_settings, small_network
from tests.support.samples import model_settings

OPTIMIZERS = [ADAM, ADAM | {"name": "adamw", "weight_decay": 0.01}, SGD, MUON]


@pytest.mark.parametrize("values", OPTIMIZERS, ids=lambda values: values["name"])
def test_every_optimizer_reduces_a_loss_and_moves_every_parameter(values):
    network = small_network()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    images, wanted = torch.randn(16, 3, 5, 5), torch.randn(16, 2)
    optimizer = build_optimizer(optimizer_settings(values), network, torch.float32)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = (network(images) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert not any(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("values", OPTIMIZERS[:3], ids=lambda values: values["name"])
def test_settings_reach_torch_s_optimizers(values):
    optimizer = build_optimizer(optimizer_settings(values), small_network(), torch.float32)
    assert type(optimizer).__name__.lower() == values["name"]
    group = optimizer.param_groups[0]
    for name in values.keys() - {"name", "betas", "layer_decay", "layer_decay_no_opt_scale"}:
        assert group[name] == values[name]
    if "betas" in values:
        assert group["betas"] == (0.8, 0.95)


def test_frozen_parameters_are_left_out():
    network = small_network()
    network[0].requires_grad_(False)
    for values in OPTIMIZERS:
        optimizer = build_optimizer(optimizer_settings(values), network, torch.float32)
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        assert len(held) == 6


def muon_names(name: str) -> set[str]:
    network = build_network(model_settings(name, input_size=32), 3)
    optimizer = build_optimizer(optimizer_settings(MUON), network, torch.float32)
    assert isinstance(optimizer, Muon)
    inner = {
        id(parameter) for group in optimizer.param_groups if group["rule"] == "muon" for parameter in group["params"]
    }
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in network.parameters())
    return {name for name, parameter in network.named_parameters() if id(parameter) in inner}


def test_muon_takes_the_weights_inside_and_adamw_the_rest():
    assert muon_names("cnn") == {f"{name}.weight" for name in ("conv2", "conv3", "conv4", "dense1", "dense2")}


def test_muon_takes_no_token_embedding_or_scale_for_a_matrix():
    tokens = muon_names("timm/test_vit")
    assert "blocks.0.attn.qkv.weight" in tokens
    assert not tokens & {"cls_token", "pos_embed", "patch_embed.proj.weight", "head.weight"}
    assert all(name.endswith("weight") for name in muon_names("timm/test_convnext"))


def rates_of(network: nn.Module, **changes: Any) -> dict[str, float]:
    """The learning rate of each parameter, by its name."""
    optimizer = build_optimizer(optimizer_settings(SGD | changes), network, torch.float32)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {names[id(each)]: group["lr"] for group in optimizer.param_groups for each in group["params"]}
    return {name: found[name] for name in names.values()}


def test_rates_fall_from_block_to_block_towards_the_images():
    found = rates_of(torchvision.models.resnet18(num_classes=3), layer_decay=0.5)
    assert found["fc.weight"] == found["fc.bias"] == 0.01
    assert found["layer4.1.conv2.weight"] == found["layer4.1.bn1.weight"] == 0.005
    assert found["layer4.0.downsample.0.weight"] == found["layer4.0.conv1.weight"] == 0.0025
    assert found["layer1.0.conv1.weight"] == 0.01 * 0.5**8
    assert found["bn1.weight"] == 0.01 * 0.5**9
    assert found["conv1.weight"] == 0.01 * 0.5**10


@pytest.mark.parametrize(
    ("name", "num_blocks"),
    [("mobilenet_v3_small", 14), ("convnext_tiny", 23), ("swin_t", 18), ("vit_b_32", 16), ("densenet121", 63)],
)
def test_blocks_are_what_the_families_call_so(name, num_blocks):
    with torch.device("meta"):
        network = torchvision.models.get_model(name, num_classes=3)
    found = rates_of(network, layer_decay=0.9)
    assert len(set(found.values())) == num_blocks
    assert found[list(found)[-1]] == 0.01
    # No block has a higher rate than one behind it, but for a normalisation that stands beside the blocks.
    assert sum(before > after for before, after in itertools.pairwise(found.values())) <= 1


def test_blocks_of_a_small_rate_are_not_trained():
    network = torchvision.models.resnet18(num_classes=3)
    settings = optimizer_settings(SGD | {"layer_decay": 0.5, "layer_decay_no_opt_scale": 0.2})
    freeze_blocks(settings, network)
    trained = {name.rpartition(".")[0] for name, one in network.named_parameters() if one.requires_grad}
    assert {name.partition(".conv")[0] for name in trained if ".conv" in name} == {"layer4.0", "layer4.1"}
    assert "fc" in trained
    optimizer = build_optimizer(settings, network, torch.float32)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.005, 0.0025]


def test_without_decay_all_are_one_group():
    optimizer = build_optimizer(optimizer_settings(ADAM), small_network(), torch.float32)
    assert len(optimizer.param_groups) == 1


def test_every_group_follows_the_schedule():
    optimizer = build_optimizer(optimizer_settings(SGD | {"layer_decay": 0.5}), small_network(), torch.float32)
    scheduler = build_schedule(schedule_settings(name="linear", warmup_epochs=0), optimizer, 10, 10)
    assert scheduler is not None
    before = [group["lr"] for group in optimizer.param_groups]
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate / 2 for rate in before])
