"""The average of the weights: how much of the random start is left in it."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from lightline.models.checkpoint import LAST, load_checkpoint
from stages.train.averaging import ExponentialMovingAverage
from tests.support.samples import model_settings
from tests.support.tiny import tiny_params, train

pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_decay_grows_to_its_largest():
    callback = ExponentialMovingAverage(0.9)
    decays = []
    for step in range(100):
        assert callback.should_update(step_idx=step)
        decays.append(callback._decay)
    assert decays[:2] == [1 / 10, 2 / 11]
    assert decays == sorted(decays)
    assert decays[-1] == 0.9
    assert not callback.should_update(epoch_idx=0)


def test_a_short_training_leaves_its_start_behind():
    start, now = nn.Linear(1, 1, bias=False), 1.0
    callback = ExponentialMovingAverage(0.999)
    averaged = [torch.zeros_like(start.weight)]
    for step in range(40):
        callback.should_update(step_idx=step)
        callback._average(averaged, [torch.full_like(start.weight, now)], step)
    assert averaged[0].item() == pytest.approx(1, abs=1e-4)  # with a constant decay it would be 0.04


@pytest.mark.parametrize("ema_decay", [None, 0.97, 0.999])
def test_a_short_training_is_as_good_with_the_average_as_without(ema_decay):
    _, metrics = train(tiny_params(trainer__ema_decay=ema_decay, trainer__max_epochs=3))
    assert metrics["val_accuracy"] > 0.9


@pytest.mark.parametrize("linear_probe", [True, False])
def test_an_average_that_begins_with_a_fitted_network_keeps_most_of_it_in_a_short_training(linear_probe):
    first = torchvision.models.resnet18(num_classes=3).state_dict()
    torch.save(first, "weights.pth")
    model = model_settings("resnet18").model_dump() | {"weights": str(Path("weights.pth").absolute())}

    def moved(ema_decay: float | None) -> float:
        changes = {"trainer__linear_probe": linear_probe, "trainer__ema_decay": ema_decay, "trainer__max_epochs": 1}
        train(tiny_params(model=model, **changes))
        name = "layer4.0.conv1.weight"
        return (load_checkpoint(LAST).state_dict[name] - first[name]).norm().item()

    share = moved(0.99) / moved(None)  # of the way, after four steps
    assert share < 0.04 if linear_probe else share > 0.5
