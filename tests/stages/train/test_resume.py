"""Training that was stopped somewhere goes on and ends with the bytes of one that was not."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lightline.errors import LightlineError
from stages.train.module import Classifier
from stages.train.state_files import newest_state
from tests.support.interrupted import KilledError, outputs
from tests.support.samples import model_settings
from tests.support.tiny import MUON, SGD, tiny_params, train

pytestmark = pytest.mark.usefixtures("own_folder")

FOLDER = Path(".lightline/training") / ("f" * 64)
AIRBENCH = {
    "model__name": "airbench", "model__widths": [8, 8, 16], "model__depths": [2, 2, 3], "loss__reduction": "sum",
    "optimizer": {"name": "muon_sgd", "lr": 0.24, "momentum": 0.6, "ns_steps": 3, "sgd_momentum": 0.85,
                  "bias_lr": 0.053, "head_lr": 0.67, "stem_epochs": 1.0, "decay": 0.004},
    "schedule": {"name": "linear", "warmup_epochs": 0.5},
    "augment__alternating_flip": True, "augment__low_resolution": [{"size": 12, "epochs": 1}],
}  # fmt: skip


# Four steps an epoch, three epochs: stopped in the middle of an epoch, before its last step, before its first.
@pytest.mark.parametrize("stops", [(2, 6), (3, 7, 11), (4, 8)], ids=str)
@pytest.mark.parametrize("every", [1, 3])
def test_wherever_it_was_stopped(stops, every, steps):
    params = tiny_params(trainer__max_epochs=3, checkpoint__every_n_train_steps=every)
    train(params)
    expected, uninterrupted = outputs(), list(steps.taken)
    assert uninterrupted == list(range(12))
    steps.taken.clear()
    for stop in stops:
        steps.stopped(params, at=stop)
    train(params)
    assert outputs() == expected
    # None was left out, and at most an interval was done again; an epoch's last step waits for its validation.
    assert sorted(set(steps.taken)) == uninterrupted
    assert len(steps.taken) - len(uninterrupted) <= every * len(stops)
    assert not FOLDER.exists()


# Four steps an epoch, a row by step after every second.
@pytest.mark.parametrize(
    "changes",
    [
        {"trainer__val_check_interval": 0.5},
        {"trainer__val_check_interval": 1},
        {"trainer__val_check_interval": 3, "trainer__ema_decay": 0.9},
        {"trainer__val_check_interval": 3, "trainer__check_val_every_n_epoch": None},
        {"trainer__val_check_interval": 1, "trainer__accumulate_grad_batches": 2, "trainer__gradient_clip_val": 0.5},
        {"trainer__check_val_every_n_epoch": 2},
        {"trainer__val_check_interval": 2, "trainer__early_stopping_patience": 2, "optimizer__lr": 1e-12},
        {"trainer__overfit_batches": 3},
        {"trainer__limit_val_batches": 1, "trainer__limit_train_batches": 0.5},
        {"trainer__fast_dev_run": 4},
        {"hardware__profiler": "simple", "hardware__detect_anomaly": True},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_wherever_it_was_stopped_with_flags_for_debugging(changes, steps):
    basis = {"trainer__max_epochs": 3, "checkpoint__every_n_train_steps": 1, "trainer__log_every_n_steps": 2}
    params = tiny_params(**basis | changes)
    train(params)
    expected, uninterrupted = outputs(), list(steps.taken)
    steps.taken.clear()
    for stop in (1, 2, 3, 4, 6, 9):
        if stop < len(uninterrupted):
            steps.stopped(params, at=stop)
    train(params)
    assert outputs() == expected
    assert sorted(set(steps.taken)) == uninterrupted


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer__ema_decay": 0.9},
        {"trainer__gradient_clip_val": 1.0, "trainer__accumulate_grad_batches": 2},
        {"augment__mixup_alpha": 0.4, "augment__cutmix_alpha": 1.0, "augment__random_erasing": 0.5},
        {
            "augment__random_crop_padding": 0,
            "augment__random_resized_crop": {"scale": [0.3, 1.0], "ratio": [0.75, 1.3333]},
            "augment__store_size": 24,
            "augment__color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
            "augment__random_rotation": 10.0,
            "augment__trivial_augment": True,
        },
        {"optimizer": SGD},
        {"optimizer": MUON | {"lr": 0.001, "weight_decay": 0.01}},
        {"schedule": {"name": "cosine", "warmup_epochs": 0.5, "eta_min": 0.0}},
        {"loss__class_weights": "balanced"},
        {"trainer__precision": "32-true", "trainer__monitor": "val_loss"},
        {"trainer__linear_probe": True, "optimizer__layer_decay": 0.5},
        {"trainer__drop_last": True, "trainer__early_stopping_patience": 1, "optimizer__lr": 1e-12},
        {"model": model_settings("mobilenet_v3_small").model_dump()},  # with dropout
        # Images from worker processes.
        {"hardware__memory_fraction": 0.0, "hardware__disk_fraction": 0.0, "hardware__num_workers": 1},
        AIRBENCH,
    ],
    ids=lambda changes: ",".join(changes),
)
def test_whatever_is_set(changes, steps):
    params = tiny_params(**{"trainer__max_epochs": 4, "checkpoint__every_n_train_steps": 1} | changes)
    train(params)
    expected, uninterrupted = outputs(), list(steps.taken)
    steps.taken.clear()
    for stop in (2, len(uninterrupted) - 2):
        steps.stopped(params, at=stop)
    train(params)
    assert outputs() == expected
    assert sorted(set(steps.taken)) == uninterrupted


def test_after_the_last_epoch_nothing_is_trained_again(steps, monkeypatch):
    params = tiny_params()
    train(params)
    expected, num_steps = outputs(), len(steps.taken)
    with monkeypatch.context() as patch:
        patch.setattr("tests.support.tiny.write_outputs", _killed)
        with pytest.raises(KilledError):
            train(params)
    assert len(steps.taken) == 2 * num_steps
    train(params)
    assert len(steps.taken) == 2 * num_steps
    assert outputs() == expected


def test_a_finished_training_is_written_with_the_threads_that_it_had(monkeypatch, request):
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    with monkeypatch.context() as patch:
        patch.setattr("tests.support.tiny.write_outputs", _killed)
        with pytest.raises(KilledError):
            train(tiny_params(hardware__num_threads=2))
    torch.set_num_threads(1)
    train(tiny_params(hardware__num_threads=1))
    assert torch.get_num_threads() == 2


def _killed(*arguments: Any) -> None:
    raise KilledError


def test_by_the_clock(steps):
    params = tiny_params(checkpoint__every_n_train_steps=None, checkpoint__train_time_interval=1e-9)
    steps.stopped(params, at=3)
    assert newest_state(FOLDER) == FOLDER / "step-000000003.ckpt"


def test_a_loss_that_is_no_number_stops_with_its_step_and_the_last_good_state_stays(monkeypatch, steps):
    params = tiny_params(checkpoint__every_n_train_steps=2)
    counted = Classifier.training_step

    def spoilt(module: Classifier, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = counted(module, batch, batch_idx)
        return loss * float("nan") if steps.taken[-1] == 5 else loss

    train(params)
    expected = outputs()
    monkeypatch.setattr(Classifier, "training_step", spoilt)
    with pytest.raises(LightlineError, match=r"training loss is nan at batch 2 of 4 in epoch 2\. .*optimizer\.lr"):
        train(params)
    assert outputs() == expected
    state = newest_state(FOLDER)
    assert state is not None
    assert state.name == "step-000000004.ckpt"
    weights = torch.load(state, weights_only=True)["state_dict"].values()
    assert all(value.isfinite().all() for value in weights)


def test_a_validation_that_finds_no_number_stops_too(monkeypatch, steps):
    validated = Classifier.validation_step

    def spoilt(module: Classifier, batch: Any, batch_idx: int) -> None:
        validated(module, batch, batch_idx)
        module.sums["val"].loss *= float("nan")

    monkeypatch.setattr(Classifier, "validation_step", spoilt)
    with pytest.raises(LightlineError, match=r"validation loss is nan in epoch 1\. .*optimizer\.lr"):
        train(tiny_params())
