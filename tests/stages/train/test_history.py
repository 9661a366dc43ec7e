"""What training leaves to look at: rows by epoch, validation and step, what others log, and the flags to debug with."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import wandb
from lightning.pytorch.callbacks import Callback

from lightline.errors import LightlineError
from lightline.models.checkpoint import BEST, LAST, load_checkpoint
from lightline.runtime.tracking import track
from tests.support.small_training import Watcher, table, train
from tests.support.tiny import tiny_params
from tests.support.wandb_file import read_offline_runs

pytestmark = pytest.mark.usefixtures("own_folder")

# 63 training images in batches of 16: four steps an epoch.
STEPS, IMAGES = 4, [16, 16, 16, 15]


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_a_row_every_so_many_steps_and_at_the_end(clip: float | None):
    watcher = Watcher()
    params = tiny_params(trainer__max_epochs=2, trainer__log_every_n_steps=3, trainer__gradient_clip_val=clip)
    train(params, watcher)
    rows = table("steps")
    assert [(row["step"], row["epoch"]) for row in rows] == [(3, 1), (6, 2), (8, 2)]
    images = 2 * IMAGES
    for row, start, end in zip(rows, (0, 3, 6), (3, 6, 8), strict=True):
        weighted = sum(loss * number for loss, number in zip(watcher.losses[start:end], images[start:end], strict=True))
        assert row["train_loss"] == pytest.approx(weighted / sum(images[start:end]), rel=1e-6)
        assert row["lr"] == pytest.approx(watcher.rates[end - 1], rel=1e-7)
        assert ("grad_norm" in row) == (clip is not None)
        if clip is not None:
            assert row["grad_norm"] == pytest.approx(watcher.norms[end - 1], rel=1e-5)
            assert row["grad_norm"] > clip


def test_steps_are_the_optimizers_and_none_are_logged_at_0():
    changes = {"trainer__max_epochs": 2, "trainer__accumulate_grad_batches": 2}
    train(tiny_params(**changes, trainer__log_every_n_steps=1))
    assert [row["step"] for row in table("steps")] == [1, 2, 3, 4]
    train(tiny_params(**changes, trainer__log_every_n_steps=0))
    assert table("steps") == []


class Logger(Callback):
    """Logs what a callback of one's own may: by step, as a mean of an epoch, after validation, at an epoch's end."""

    def on_train_batch_end(
        self, trainer: Any, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        pl_module.log("by_step", float(batch_idx))
        pl_module.log("mean", float(batch_idx), on_step=False, on_epoch=True, batch_size=1)
        pl_module.log("both", float(batch_idx), on_step=True, on_epoch=True, batch_size=1)

    def on_validation_epoch_end(self, trainer: Any, pl_module: lightning.LightningModule) -> None:
        pl_module.log("val_own", 0.5)

    def on_train_epoch_end(self, trainer: Any, pl_module: lightning.LightningModule) -> None:
        pl_module.log("seen", trainer.callback_metrics["train_loss"] * 0 + 7)
        pl_module.log("lr", 99.0)  # a name that is ours


def test_what_a_callback_logs_is_in_history_metrics_and_the_terminal(capsys: pytest.CaptureFixture[str]):
    metrics = train(tiny_params(trainer__log_every_n_steps=2), Logger())
    rows = table("history")
    for row in rows:
        assert (row["by_step"], row["mean"], row["both_epoch"], row["val_own"], row["seen"]) == (3, 1.5, 1.5, 0.5, 7)
        assert row["lr"] != 99
    assert list(rows[0])[:7] == ["epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]
    assert (metrics["val_own"], metrics["mean"]) == (0.5, 1.5)
    assert [(row["by_step"], row["both_step"]) for row in table("steps")] == 2 * [(1, 1), (3, 3)]
    assert "; val_own 0.5; " in capsys.readouterr().out


def test_wandb_has_the_same_curves_and_its_steps_only_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in (("ORIGIN", str(tmp_path)), ("EXPERIMENT", "brave-otter")):
        monkeypatch.setenv(f"LIGHTLINE_{name}", value)
    monkeypatch.setenv("WANDB_MODE", "offline")
    changes = {"tracking__mode": "auto", "trainer__log_every_n_steps": 2, "trainer__val_check_interval": 3}
    params = tiny_params(**changes, checkpoint__every_n_train_steps=2, trainer__max_epochs=3)

    class Killed(Callback):
        def on_train_batch_start(self, trainer: Any, *rest: Any) -> None:
            if trainer.global_step == 7:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"), track(params, "f" * 64, "train", resume=False) as run:
        train(params, Logger(), Killed(), run=run)
    with track(params, "f" * 64, "train") as run:
        train(params, Logger(), run=run)
    wandb.teardown()
    first, second = read_offline_runs(tmp_path)
    assert first.id == second.id
    for part in (first, second):
        numbers = [row["_step"] for row in part.history]
        assert numbers == sorted(set(numbers))
        assert all(row["trainer/global_step"] == row["_step"] for row in part.history)
    assert [row["_step"] for row in first.history] == [2, 3, 4, 6, 7]
    assert [row["_step"] for row in second.history] == [7, 8, 10, 11, 12]  # the state was saved at 6
    history = {row["_step"]: row for row in first.history + second.history}
    for row in table("steps"):
        sent = history[row["step"]]
        assert (sent["train_loss_step"], sent["by_step"]) == (row["train_loss"], row["by_step"])
        assert sent["images_per_second"] > 0
    for row in table("history"):
        sent = history[row["step"]]
        assert all(sent[name] == value for name, value in row.items() if name != "step" and value is not None)
    assert "val_predictions.captions" in history[3]


def test_validation_within_an_epoch_has_rows_and_can_be_the_best():
    watcher = Watcher()
    metrics = train(tiny_params(trainer__val_check_interval=0.5, trainer__monitor="val_loss"), watcher)
    rows = table("history")
    assert [(row["epoch"], row["step"]) for row in rows] == [(0.5, 2), (1, 4), (1.5, 6), (2, 8)]
    half = sum(loss * 16 for loss in watcher.losses[:2]) / 32
    assert rows[0]["train_loss"] == pytest.approx(half, rel=1e-6)
    assert metrics["val_loss"] == min(row["val_loss"] for row in rows)
    # Rates of nothing later on: the first of equals is the best.
    metrics = train(tiny_params(trainer__val_check_interval=0.5, optimizer__lr=1e-12))
    assert (metrics["best_epoch"], metrics["epochs"]) == (0.5, 2)
    assert load_checkpoint(BEST).epoch == 1


def test_validation_between_two_steps_has_a_row_of_its_own():
    train(tiny_params(trainer__max_epochs=1, trainer__val_check_interval=1, trainer__accumulate_grad_batches=3))
    rows = table("history")
    assert [(row["epoch"], row["step"]) for row in rows] == [(0.25, 0), (0.5, 0), (0.75, 1), (1, 2)]
    assert all(row["val_loss"] is not None for row in rows)


def test_early_stopping_counts_validations_and_its_last_row_stands_once():
    changes = {"trainer__val_check_interval": 1, "trainer__early_stopping_patience": 2, "optimizer__lr": 1e-12}
    metrics = train(tiny_params(**changes, trainer__log_every_n_steps=1))
    assert [row["step"] for row in table("history")] == [row["step"] for row in table("steps")] == [1, 2, 3]
    assert metrics["epochs"] == 0.75


@pytest.mark.parametrize(
    ("changes", "validated"),
    [
        ({"check_val_every_n_epoch": 2}, {2: 8, 4: 16, 5: 20}),
        ({"check_val_every_n_epoch": 9}, {5: 20}),
        ({"check_val_every_n_epoch": None, "val_check_interval": 6}, {1.5: 6, 3: 12, 4.5: 18, 5: 20}),
        ({"val_check_interval": 0.75, "max_epochs": 2}, {0.75: 3, 1.75: 7, 2: 8}),
    ],
    ids=str,
)  # fmt: skip
def test_epochs_without_validation_have_empty_cells_and_the_end_is_always_validated(
    changes: dict[str, Any], validated: dict[float, int]
):
    watcher = Watcher()
    metrics = train(
        tiny_params(**{"trainer__max_epochs": 5} | {f"trainer__{name}": value for name, value in changes.items()}),
        watcher,
    )
    rows = table("history")
    assert {row["epoch"]: row["step"] for row in rows if row["val_loss"] is not None} == validated
    assert sorted(set(watcher.validated)) == list(validated.values())
    assert {row["epoch"] for row in rows} >= set(range(1, 1 + changes.get("max_epochs", 5)))
    assert metrics["best_epoch"] in validated
    assert set(load_checkpoint(LAST).metrics) == {"val_loss", "val_accuracy"}


def test_a_callback_that_stops_in_an_epoch_without_validation():
    class Stop(Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            trainer.should_stop = trainer.global_step == 2

    train(tiny_params(trainer__check_val_every_n_epoch=2), Stop())
    assert [(row["epoch"], row["step"]) for row in table("history")] == [(0.5, 2)]

    class StopLate(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop = True

    with pytest.raises(LightlineError, match=r"after 4 steps without a validation.*check_val_every_n_epoch"):
        train(tiny_params(trainer__check_val_every_n_epoch=2), StopLate())
