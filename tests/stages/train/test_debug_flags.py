"""The flags to debug a training with: fast_dev_run, overfit_batches, profiles, anomalies."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from lightline.errors import LightlineError, ParameterError
from lightline.models.checkpoint import LAST
from stages.train.fit import REPORTS
from tests.support.small_training import Watcher, table, train
from tests.support.tiny import ROOT, tiny_params

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.parametrize("number", [True, 2])
def test_fast_dev_run_takes_so_many_batches_and_writes_everything(number: int, capsys: pytest.CaptureFixture[str]):
    watcher = Watcher()
    changes = {"trainer__early_stopping_patience": 1, "trainer__check_val_every_n_epoch": 3, "trainer__ema_decay": 0.9}
    train(tiny_params(trainer__fast_dev_run=number, trainer__max_epochs=9, trainer__batch_size=4, **changes), watcher)
    assert len(watcher.losses) == len(watcher.validated) == int(number)
    assert [row["step"] for row in table("steps")] == list(range(1, int(number) + 1))
    assert f"trainer.fast_dev_run = {number}: a trial" in capsys.readouterr().out
    assert {path.name for path in REPORTS.iterdir()} >= {"history.csv", "steps.csv", "curves.png", "metrics.json"}
    assert LAST.exists()


@pytest.mark.parametrize("extent", [2, 0.5])
def test_overfit_batches_are_the_same_in_every_epoch(extent: float):
    watcher = Watcher()
    train(tiny_params(trainer__overfit_batches=extent, trainer__max_epochs=3, trainer__batch_size=8), watcher)
    number = 2 if extent == 2 else 4
    epochs = [watcher.rows[start : start + number] for start in range(0, 3 * number, number)]
    assert epochs[0] == epochs[1] == epochs[2]
    assert len(epochs[0]) == number
    assert len(watcher.validated) == 3 * (2 if extent == 2 else 1)  # 13 images: two batches, the half of which is one


@pytest.mark.parametrize("limit", [{"overfit_batches": 2}, {"limit_train_batches": 2}, {"limit_train_batches": 0.25}])
def test_max_steps_counts_the_steps_that_are_taken(limit: dict[str, float]):
    watcher = Watcher()
    changes = {f"trainer__{name}": value for name, value in limit.items()}
    train(tiny_params(trainer__max_steps=6, trainer__max_epochs=9, trainer__batch_size=8, **changes), watcher)
    assert len(watcher.losses) == 6  # of two an epoch, where there would be eight


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trainer__val_check_interval": 5}, r"`val_check_interval` \(5\) must be less than or equal"),
        ({"trainer__limit_val_batches": 0.1}, r"limit_val_batches"),
        (
            {"augment__low_resolution": [{"size": 12, "epochs": 1}]},
            r"augment\.low_resolution: \w+ does not take images of 12 pixels",
        ),
    ],
    ids=str,
)
def test_what_lightning_refuses_only_when_it_has_the_batches_is_a_sentence(changes: dict[str, Any], told: str):
    with pytest.raises(ParameterError, match=told):
        train(tiny_params(**changes))


@pytest.mark.parametrize("name", ["simple", "advanced"])
def test_a_profile_lies_where_it_is_told(name: str, capsys: pytest.CaptureFixture[str]):
    for _ in range(2):
        train(tiny_params(trainer__max_epochs=1, hardware__profiler=name))
    folder = Path(".lightline/profiles").resolve()
    assert f"{folder}/fit-{name}" in capsys.readouterr().out
    (report,) = folder.glob(f"fit-{name}*.txt")
    assert report.read_text().count("Profiler Report") == 1


def test_torchs_profile():
    """In a process of its own: torch's profiler is one for all of a process."""
    code = """
from tests.support.tiny import tiny_params, train
train(tiny_params(trainer__max_epochs=1, trainer__batch_size=4, hardware__profiler="pytorch"))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = Path(".lightline/profiles")
    assert "aten::" in (folder / "fit-pytorch.txt").read_text()
    assert list(folder.glob("fit-pytorch*.pt.trace.json"))
    assert "Traceback" not in done.stderr


def test_detect_anomaly_ends_where_a_gradient_is_no_number():
    class Spoil(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            pl_module.loss.register_forward_hook(lambda module, inputs, loss: torch.sqrt(loss * 0) + loss)

    with pytest.raises(LightlineError, match="training loss is nan"):
        train(tiny_params(), Spoil())
    with (
        pytest.warns(UserWarning, match=r"Error detected in \w+Backward0\. Traceback of forward call"),
        pytest.raises(RuntimeError, match=r"Backward0.* returned nan"),
    ):
        train(tiny_params(hardware__detect_anomaly=True), Spoil())
