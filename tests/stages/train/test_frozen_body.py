"""Fine-tuning: the last layer first."""

import csv
from pathlib import Path

import pytest
import torch

from lightline.errors import ParameterError
from lightline.models.checkpoint import LAST, load_checkpoint
from stages.train.fit import prepare
from stages.train.trainer import build_trainer
from tests.support.samples import model_settings
from tests.support.tiny import tiny_params, tiny_task, train

pytestmark = pytest.mark.usefixtures("own_folder")

FINE_TUNED = {"model": model_settings("resnet18").model_dump(), "trainer__precision": "32-true"}


def trained(**changes) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The network's state before and after training."""
    task = tiny_task(tiny_params(**FINE_TUNED, **changes))
    before = prepare(task)[1].network.state_dict()
    train(task.params)
    return before, load_checkpoint(LAST).state_dict


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_at_first_only_the_last_layer_learns_and_statistics_stay():
    assert moved(*trained(trainer__max_epochs=2, trainer__freeze_epochs=2)) == {"fc.weight", "fc.bias"}


def test_the_history_has_the_rate_of_what_learns():
    trained(trainer__max_epochs=3, trainer__freeze_epochs=2, optimizer__lr=0.001, optimizer__head_lr=0.5)
    with Path("reports/train/history.csv").open() as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.25, 0.0, 0.001], abs=0.02)  # half a cosine, to zero, then the body's with it


def test_then_all_of_the_network_learns():
    before, after = trained(trainer__max_epochs=2, trainer__freeze_epochs=1)
    assert moved(before, after) == set(before)


def test_plain_ddp_is_refused_with_what_to_set():
    params = tiny_params(trainer__freeze_epochs=1, hardware__devices=2, hardware__strategy="ddp")
    with pytest.raises(ParameterError, match=r"hardware\.strategy = ddp_find_unused_parameters_true"):
        build_trainer(params)
