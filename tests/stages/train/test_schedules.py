"""Learning rates by step."""

import math
from typing import Any

import pytest
import torch

from lightline.config.training import Schedule
from stages.train.optimizers import build_optimizer, build_schedule
from tests.support.optimizers import ADAM, MUON, MUON_SGD, SGD, optimizer_settings, schedule_settings, small_network


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
