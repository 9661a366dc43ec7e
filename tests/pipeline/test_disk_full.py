"""A full disk under the stages that write most: what is said of it, and that the disk is as it was afterwards."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from lightline.data.dataset import DATASET
from lightline.models.checkpoint import BEST
from tests.support.samples import expected_logits, prepare_export, write_test_reports
from tests.support.small_disk import Outcome, run_on_small_disk
from tests.support.tiny import tiny_params, tiny_task

OLD = "what an earlier run wrote"
ROOM = 2**16  # bytes


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml, in which the test runs, and old outputs of all stages."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("params.yaml").write_text(yaml.safe_dump(tiny_params(export__latency=False).model_dump(mode="json")))
    for name in ("data/dataset/dataset.json", str(BEST), "models/model.onnx", "models/MODEL_CARD.md"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(OLD)
    return folder


def check(outcome: Outcome, path: Path | str, disk: Path) -> None:
    """One sentence about the path (or pattern) that could not be written, and every file as it was."""
    assert outcome.status == 1, outcome.stderr
    (line,) = outcome.stderr.splitlines()
    name = path if isinstance(path, str) else re.escape(str(path))
    said = re.fullmatch(
        rf"error: {name} cannot be written: No space left on device\. It needs more than (\d+) bytes, "
        rf"and (\d+) bytes are free in {disk}/\S+\. Make room there, then give the same command again\.",
        line,
    )
    assert said, line
    needed, free = map(int, said.groups())
    assert 0 < needed <= free <= ROOM
    assert outcome.after == outcome.before


def test_download(project, tmp_path):
    outcome = run_on_small_disk(project, tmp_path / "disk", ROOM, sys.executable, "-m", "stages.download")
    check(outcome, DATASET, tmp_path / "disk")


def test_checkpoint(project, tmp_path):
    tiny_task(tiny_params())
    # Unfinished training, which is no output, is kept in the repository that a run belongs to: on another disk here.
    (tmp_path / "origin").mkdir()
    outcome = run_on_small_disk(
        project,
        tmp_path / "disk",
        ROOM,
        *(sys.executable, "-m", "stages.train"),
        LIGHTLINE_ORIGIN=str(tmp_path / "origin"),
        WANDB_MODE="disabled",
    )
    check(outcome, BEST, tmp_path / "disk")


def test_state_of_training(project, tmp_path):
    tiny_task(tiny_params())
    disk = tmp_path / "disk"
    outcome = run_on_small_disk(project, disk, ROOM, sys.executable, "-m", "stages.train", WANDB_MODE="disabled")
    check(outcome, rf"{disk}/\.lightline/training/[0-9a-f]{{64}}/finished\.ckpt", disk)


def test_what_is_no_output(project, tmp_path):
    outcome = run_on_small_disk(project, tmp_path / "disk", 0, sys.executable, "-m", "stages.source")
    assert outcome.status == 1
    assert re.fullmatch(
        rf"error: \S.* cannot be written: No space left on device\. Free are .*\b0 bytes in {tmp_path}/disk\b.*\. "
        r"Make room there, then give the same command again\.\n",
        outcome.stderr,
    )


def test_export(project, tmp_path):
    checkpoint, dataset = prepare_export(project)
    write_test_reports(dataset, expected_logits(checkpoint, dataset))
    outcome = run_on_small_disk(project, tmp_path / "disk", ROOM, sys.executable, "-m", "stages.export")
    check(outcome, Path("models/model.onnx"), tmp_path / "disk")
