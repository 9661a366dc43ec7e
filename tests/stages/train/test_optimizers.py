"""Optimizers and schedules by name."""

import itertools
import math
from typing import Any

import pytest
import torch
import torchvision
from pydantic import TypeAdapter
from torch import nn

from lightline.config.training import Optimizer, Schedule
from lightline.models.build import build_network
from stages.train.muon import Muon
from stages.train.optimizers import build_optimizer, build_schedule, freeze_blocks
from tests.support import tiny
from tests.support.samples import model_settings

ADAM = {
    "name": "adam",
    "lr": 0.01,
    "layer_decay": 1.0,
    "layer_decay_no_opt_scale": 0.0,
    "betas": [0.8, 0.95],
    "eps": 1e-7,
    "weight_decay": 0.0,
}
SGD = tiny.SGD | {"weight_decay": 0.001}
MUON = {
    "name": "muon",
    "lr": 0.02,
    "momentum": 0.95,
    "nesterov": True,
    "ns_steps": 5,
    "weight_decay": 0.0,
    "adamw_lr": 0.003,
}
MUON_SGD = {
    "name": "muon_sgd",
    "lr": 0.24,
    "momentum": 0.6,
    "ns_steps": 3,
    "sgd_momentum": 0.85,
    "bias_lr": 0.053,
    "head_lr": 0.67,
    "stem_epochs": 2.0,
    "decay": 0.004,
}
OPTIMIZERS = [ADAM, ADAM | {"name": "adamw", "weight_decay": 0.01}, SGD, MUON]


def optimizer_settings(values: dict[str, Any]) -> Optimizer:
    return TypeAdapter(Optimizer).validate_python(values)


def schedule_settings(**values: Any) -> Schedule:
    return TypeAdapter(Schedule).validate_python(values)


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(6, 8), nn.Linear(8, 2))


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


def rates(schedule: Schedule, num_steps: int, steps_per_epoch: float = 10, values: dict[str, Any] = SGD) -> list:
    """The learning rates of every step, [steps][groups]."""
    network = small_network()
    network[0].weight.requires_grad_(values is not MUON_SGD)  # a frozen first layer, of which the bias learns
    optimizer = build_optimizer(optimizer_settings(values), network, torch.float32)
    scheduler = build_schedule(schedule, optimizer, num_steps, steps_per_epoch)
    found = []
    for _ in range(num_steps):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return found


def first_group(*arguments: Any, **settings: Any) -> list[float]:
    return [step[0] for step in rates(*arguments, **settings)]


def test_constant_without_and_with_warm_up():
    assert first_group(schedule_settings(name="constant", warmup_epochs=0), 30) == [0.01] * 30
    warm = first_group(schedule_settings(name="constant", warmup_epochs=0.4), 30)
    assert warm[:4] == pytest.approx([0.002, 0.004, 0.006, 0.008])
    assert warm[4:] == pytest.approx([0.01] * 26)


def test_linear_falls_to_zero_and_a_group_with_epochs_of_its_own_in_those():
    falling = rates(schedule_settings(name="linear", warmup_epochs=0), 40, values=MUON_SGD)
    filters, head, stem = ([step[group] for step in falling] for group in range(3))
    assert filters == pytest.approx([0.24 * (1 - step / 40) for step in range(40)])
    assert head == pytest.approx([0.67 * (1 - step / 40) for step in range(40)])
    assert stem == pytest.approx([0.053 * max(0.0, 1 - step / 20) for step in range(40)])  # two epochs of ten steps
    warm = [step[0] for step in rates(schedule_settings(name="linear", warmup_epochs=0.4), 40)]
    assert warm[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])
    assert warm[-1] == pytest.approx(0.01 / 36)


def test_cosine_falls_from_the_peak_to_eta_min():
    found = first_group(schedule_settings(name="cosine", warmup_epochs=0, eta_min=0.001), 100)
    assert found[0] == 0.01
    assert found[50] == pytest.approx(0.0055)
    assert found == sorted(found, reverse=True)
    assert 0.001 < found[-1] < 0.00101
    expected = [0.001 + 0.009 * (1 + math.cos(math.pi * step / 100)) / 2 for step in range(100)]
    assert found == pytest.approx(expected)


def test_cosine_after_a_warm_up():
    found = first_group(schedule_settings(name="cosine", warmup_epochs=2, eta_min=0), 100)
    assert found[0] == pytest.approx(0.01 / 21)
    assert found.index(max(found)) == 20
    assert found[20] == pytest.approx(0.01)
    assert found[60] == pytest.approx(0.005)
    assert found[:21] == sorted(found[:21])


def test_one_cycle_rises_to_lr_and_falls_to_nothing():
    schedule = schedule_settings(name="one_cycle", pct_start=0.3, div_factor=20, final_div_factor=100)
    found = first_group(schedule, 100)
    assert found[0] == pytest.approx(0.01 / 20)
    assert found.index(max(found)) == 29
    assert max(found) == pytest.approx(0.01)
    assert found[-1] == pytest.approx(0.01 / 20 / 100)


def test_one_cycle_leaves_momentum_alone():
    optimizer = build_optimizer(optimizer_settings(ADAM), small_network(), torch.float32)
    schedule = schedule_settings(name="one_cycle", pct_start=0.3, div_factor=20, final_div_factor=100)
    build_schedule(schedule, optimizer, 10, 5)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.95)


@pytest.mark.parametrize("num_steps", range(1, 13))
@pytest.mark.parametrize("pct_start", [0.25, 0.5, 0.1, 1 / 3])
def test_one_cycle_takes_any_number_of_steps(num_steps, pct_start):
    schedule = schedule_settings(name="one_cycle", pct_start=pct_start, div_factor=25, final_div_factor=1e4)
    found = first_group(schedule, num_steps)
    assert all(0 <= rate <= 0.01 + 1e-12 for rate in found)
    assert found[-1] < 1e-5


@pytest.mark.parametrize(
    ("schedule", "last"),
    [
        (schedule_settings(name="cosine", warmup_epochs=0, eta_min=0.001), [0.001, 0.001]),
        (schedule_settings(name="constant", warmup_epochs=1), [0.02, 0.003]),
        (schedule_settings(name="one_cycle", pct_start=0.3, div_factor=2, final_div_factor=10), [0.001, 0.00015]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_both_rates_of_muon_are_scheduled(schedule, last):
    found = rates(schedule, 200, values=MUON)
    assert found[-1] == pytest.approx(last, rel=0.01)
    highest = [max(step[group] for step in found) for group in (0, 1)]
    assert highest == pytest.approx([0.02, 0.003], rel=1e-3)


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
