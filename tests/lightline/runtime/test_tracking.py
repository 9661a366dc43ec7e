"""W&B: what an offline run holds, and which run the stages share; its failures are in test_wandb_faults.py."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import wandb
from PIL import Image

from lightline.config.params import Params
from lightline.runtime.tracking import Run, track
from tests.support.tiny import tiny_params
from tests.support.wandb_file import OfflineRun, read_offline_runs

FINGERPRINT = "0123456789abcdef" * 4


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LIGHTLINE_ORIGIN", str(tmp_path))
    monkeypatch.setenv("LIGHTLINE_EXPERIMENT", "brave-otter")
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield tmp_path
    wandb.teardown()  # its service would go on, and serve the processes that later tests start


@pytest.fixture
def params() -> Params:
    return tiny_params(tracking__mode="auto")


def written(origin: Path) -> list[OfflineRun]:
    """The runs below the origin, once W&B's service has written all of them."""
    wandb.teardown()
    return read_offline_runs(origin)


def test_an_offline_run_holds_all_that_was_logged(origin: Path, params: Params):
    file = origin / "best.ckpt"
    file.write_bytes(b"weights")
    with track(params, FINGERPRINT, "train", resume=False) as run:
        for epoch, val_loss, val_accuracy in ((1, 0.5, 0.75), (2, 0.25, 0.5)):
            run.log_images("val_predictions", np.zeros((2, 8, 8, 3), np.uint8), ["cat / dog", "dog / dog"], step=epoch)
            run.log({"epoch": epoch, "val_loss": val_loss, "val_accuracy": val_accuracy}, step=epoch)
        run.summarize({"val_accuracy": 0.75})
        run.log_artifact("checkpoint", "model", [file], {"fingerprint": FINGERPRINT})
    (run,) = written(origin)
    assert (run.name, run.job, run.tags) == ("brave-otter", "train", [FINGERPRINT])
    assert run.config["fingerprint"] == FINGERPRINT
    assert run.config["optimizer"]["lr"] == params.optimizer.lr
    assert [(row["_step"], row["val_loss"]) for row in run.history] == [(1, 0.5), (2, 0.25)]
    assert run.history[0]["val_predictions.captions"] == ["cat / dog", "dog / dog"]
    assert run.summary["val_accuracy"] == 0.75  # the best epoch's, and not the last one's
    assert run.artifacts == [("checkpoint", ["best", "latest"], ["best.ckpt"])]


@pytest.mark.parametrize(("error", "exit_code"), [(None, 0), (ValueError, 1), (KeyboardInterrupt, 255)])
def test_how_a_stage_ended_is_told(origin: Path, params: Params, error: type[BaseException] | None, exit_code: int):
    with suppress(ValueError, KeyboardInterrupt), track(params, FINGERPRINT, "train"):
        if error:
            raise error
    (run,) = written(origin)
    assert run.exit_code == exit_code


def test_later_stages_log_into_the_run_that_train_began(origin: Path, params: Params):
    with track(params, FINGERPRINT, "train", resume=False) as run:
        run.log({"val_loss": 0.5}, step=7)
    with track(params, FINGERPRINT, "test") as run:
        run.log({"confusion": 1})
    with track(params, FINGERPRINT, "export") as run:
        run.log({"bytes": 1})
    train, test, export = written(origin)
    assert train.id == test.id == export.id
    assert [row["_step"] for stage in (train, test, export) for row in stage.history] == [7, 8, 9]


@pytest.mark.parametrize(("num_classes", "kind"), [(100, "table-file"), (10_000, "image-file")])
def test_the_confusion_of_many_classes_is_sent_as_a_picture(origin: Path, params: Params, num_classes: int, kind: str):
    """W&B's chart takes a row for each pair: 50 minutes and 25 GB of 10,000 classes."""
    pictures = [origin / "mistakes.png", origin / "confusion.png"]
    for picture in pictures:
        Image.new("RGB", (8, 8)).save(picture)
    names = [f"class {number}" for number in range(num_classes)]
    with track(params, FINGERPRINT, "test") as run:
        run.log_evaluation([0, 1, num_classes - 1], [0, 1, 2], names, *pictures)
    (run,) = written(origin)
    (row,) = run.history
    assert kind in [value for name, value in row.items() if name.startswith("confusion") and name.endswith("_type")]
    assert row["mistakes._type"] == "image-file"


def test_training_anew_begins_a_run_of_its_own(origin: Path, params: Params):
    for _ in range(2):
        with track(params, FINGERPRINT, "train", resume=False) as run:
            run.log({"val_loss": 0.5}, step=1)
    first, second = written(origin)
    assert first.id != second.id


def test_disabled_writes_nothing(origin: Path, params: Params, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with track(params, FINGERPRINT, "train", resume=False) as run:
        run.log({"val_loss": 0.5}, step=1)
        run.log_artifact("checkpoint", "model", [origin / "missing"], {})
    assert not (origin / "wandb").exists()


def test_a_folder_that_cannot_be_written_costs_one_warning(origin: Path, params: Params, capfd):
    (origin / "wandb").write_text("a file where W&B wants a folder")
    with track(params, FINGERPRINT, "train", resume=False) as run:
        run.log({"val_loss": 0.5}, step=1)
    assert capfd.readouterr().err.count("warning:") == 1


def test_no_run_takes_everything():
    run = Run()
    run.log({"a": 1})
    run.log_images("a", np.zeros((1, 2, 2, 3), np.uint8), ["a"], step=1)
    run.log_evaluation([0], [0], ["a"], Path("missing.png"))
    run.finish()


def test_a_damaged_record_is_no_obstacle(origin: Path, params: Params):
    record = origin / ".lightline" / "runs" / f"{FINGERPRINT}.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    with track(params, FINGERPRINT, "test") as run:
        run.log({"a": 1})
    assert json.loads(record.read_text())["step"] == 1


def test_the_stages_of_a_pipeline_share_a_run(finished_project):
    runs = read_offline_runs(finished_project.path)
    train, test, export, report = runs[-4:]
    assert [run.job for run in runs[-4:]] == ["train", "test", "export", "report"]
    assert len({run.id for run in runs[-4:]}) == 1
    assert any("report" in key for row in report.history for key in row)
    fingerprint = json.loads((finished_project.path / "reports/train/fingerprint.json").read_text())["fingerprint"]
    assert train.tags == [fingerprint]
    *epochs, extremes = train.history
    for row in epochs:
        actual = [caption.split(" / ")[1] for caption in row["val_predictions.captions"]]
        assert len(actual) == 16
        assert set(actual) == set("0123456789")
    assert {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"} <= set(epochs[-1])
    (wrong, *_), (right, *_) = extremes["val_worst.captions"], extremes["val_best.captions"]
    assert wrong[0] != wrong[-1]
    assert right[0] == right[-1]
    assert train.artifacts == [("checkpoint", ["best", "latest"], ["best.ckpt"])]
    best = json.loads((finished_project.path / "reports/train/metrics.json").read_text())
    assert train.summary["val_accuracy"] == best["val_accuracy"]
    assert any(key.startswith("confusion") for row in test.history for key in row)
    assert test.summary["test/accuracy"] > 0
    assert ("model", ["best", "latest"], ["MODEL_CARD.md", "model.intoto.json", "model.onnx"]) in export.artifacts
