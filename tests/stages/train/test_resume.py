"""Training that was stopped somewhere goes on and ends with the bytes of one that was not."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lightline.errors import LightlineError
from lightline.models.checkpoint import BEST
from lightline.runtime.training_folder import forget, training_folder
from stages.train.fit import REPORTS
from stages.train.module import Classifier
from stages.train.state_files import newest_state
from tests.support.samples import model_settings
from tests.support.tiny import MUON, ROOT, SGD, tiny_params, train

pytestmark = pytest.mark.usefixtures("own_folder")

FOLDER = Path(".lightline/training") / ("f" * 64)
AIRBENCH = {
    "model__name": "airbench", "model__widths": [8, 8, 16], "model__depths": [2, 2, 3], "loss__reduction": "sum",
    "optimizer": {"name": "muon_sgd", "lr": 0.24, "momentum": 0.6, "ns_steps": 3, "sgd_momentum": 0.85,
                  "bias_lr": 0.053, "head_lr": 0.67, "stem_epochs": 1.0, "decay": 0.004},
    "schedule": {"name": "linear", "warmup_epochs": 0.5},
    "augment__alternating_flip": True, "augment__low_resolution": [{"size": 12, "epochs": 1}],
}  # fmt: skip


class KilledError(Exception):
    """In place of a signal, which tests/faults sends to real processes."""


class Steps:
    """The steps that were taken, of all trainings; the one at which to stop next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.taken: list[int] = []
        self.stop_at = -1
        original = Classifier.training_step

        def counted(module: Classifier, batch: Any, batch_idx: int) -> torch.Tensor:
            step = module.trainer.fit_loop.total_batch_idx
            if step == self.stop_at:
                raise KilledError
            self.taken.append(step)
            return original(module, batch, batch_idx)

        monkeypatch.setattr(Classifier, "training_step", counted)

    def stopped(self, params: Any, at: int) -> None:
        """Train until before a step, counted from 0."""
        self.stop_at = at
        with pytest.raises(KilledError):
            train(params)
        self.stop_at = -1


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for place in ("models", "reports") for path in Path(place).rglob("*.*")}


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


def test_two_states_are_kept_each_with_its_digest(steps):
    steps.stopped(tiny_params(checkpoint__every_n_train_steps=1), at=3)
    names = [f"step-00000000{step}.ckpt{end}" for step in (2, 3) for end in ("", ".sha256")]
    assert sorted(path.name for path in FOLDER.iterdir()) == ["ingredients.json", *names]
    done = subprocess.run(
        ["sha256sum", "--check", *sorted(p.name for p in FOLDER.glob("*.sha256"))], cwd=FOLDER, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-9], lambda content: content + b"x"])
def test_a_damaged_state_is_named_and_the_one_before_used(damage, steps, capsys):
    params = tiny_params(checkpoint__every_n_train_steps=1)
    train(params)
    expected = outputs()
    steps.stopped(params, at=3)
    newest = FOLDER / "step-000000003.ckpt"
    newest.write_bytes(damage(newest.read_bytes()))
    steps.taken.clear()
    train(params)
    assert steps.taken[0] == 2
    assert f"warning: {newest.resolve()} is damaged and left out" in capsys.readouterr().err
    assert outputs() == expected


def test_without_any_good_state_it_starts_from_the_beginning(steps, capsys):
    params = tiny_params(checkpoint__every_n_train_steps=1)
    train(params)
    expected = outputs()
    steps.stopped(params, at=3)
    for digest in FOLDER.glob("*.sha256"):
        digest.unlink()
    steps.taken.clear()
    train(params)
    assert steps.taken[0] == 0
    assert capsys.readouterr().err.count("is damaged") == 2
    assert outputs() == expected


def test_another_fingerprint_starts_afresh_and_says_what_differs(steps, capsys):
    params = tiny_params(checkpoint__every_n_train_steps=1)
    steps.stopped(params, at=3)
    changed = tiny_params(optimizer__lr=0.5, seed=7)
    with training_folder("e" * 64, changed.model_dump(mode="json")) as other:
        assert newest_state(other) is None
    told = capsys.readouterr().out
    assert f"starting from the beginning: unfinished training in {FOLDER.resolve()} differs in" in told
    assert "seed, optimizer.lr, checkpoint.every_n_train_steps" in told
    assert newest_state(FOLDER) is not None


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


def _start(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


TRAIN = """
from lightline.runtime.stage import run_stage
from tests.support.tiny import tiny_params, train
run_stage(lambda params: train(tiny_params(trainer__max_epochs={epochs}, checkpoint__train_time_interval=None)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_its_state_first(number, steps):
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    with _start(TRAIN.format(epochs=5000)) as process:
        lines = iter(process.stdout or ())
        assert any(line.startswith("epoch 2/") for line in lines)
        process.send_signal(number)
        rest = "".join(lines)
    assert process.returncode == 130
    assert "stopping after this step, with its state saved" in rest
    assert ("Ctrl-C" in rest) == (number == signal.SIGINT)
    state = newest_state(FOLDER)
    assert state is not None
    steps.stopped(tiny_params(trainer__max_epochs=5000), at=(done := int(state.stem.removeprefix("step-"))) + 1)
    assert steps.taken == [done]


def test_a_second_process_of_the_same_training_waits_and_trains_nothing(steps):
    hold = """
import os, sys
from lightline.runtime.training_folder import training_folder
from tests.support.tiny import *
params = tiny_params()
task = tiny_task(params)
with training_folder(task.fingerprint, {}) as folder:
    print("held", os.getpid(), flush=True)
    sys.stdin.readline()
    fit(task, build_trainer(task.params), folder, None, Run())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with (
        subprocess.Popen([sys.executable, "-c", hold], **pipes) as first,
        subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.readline()\n" + TRAIN_TWO], **pipes) as second,
    ):
        assert first.stdout
        assert second.stdout
        assert second.stdin
        held, pid = first.stdout.readline().split()
        assert held == "held"
        second.stdin.write("\n")
        second.stdin.flush()
        assert f"under way in process {pid}: waiting" in second.stdout.readline()
        assert not BEST.exists()
        first.communicate("\n")
        told = second.communicate()[0]
    assert (first.returncode, second.returncode) == (0, 0)
    assert "finished already" in told
    assert "epoch" not in told
    assert BEST.exists()
    assert json.loads((REPORTS / "metrics.json").read_text())["epochs"] == 2


TRAIN_TWO = """
from tests.support.tiny import tiny_params, train
train(tiny_params())
"""


def test_what_ended_before_it_saved_a_state_leaves_no_folder():
    with training_folder("a" * 64, {}) as folder:
        assert folder.exists()
    assert not folder.exists()


def test_the_state_goes_when_its_results_are_safe_but_not_while_it_is_used():
    with training_folder("a" * 64, {}) as held:
        (held / "finished.ckpt").touch()
        forget("a" * 64)
        assert held.exists()
    assert held.exists()
    forget("a" * 64)
    assert list(held.parent.iterdir()) == []
    forget("a" * 64)
