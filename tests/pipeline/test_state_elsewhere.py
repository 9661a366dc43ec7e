"""A training that was killed on one machine goes on on another, from the state in `checkpoint.store`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightline.files import file_digest
from tests.support.project import Project
from tests.support.workspace import until

_TRAIN = (sys.executable, "-m", "stages.train")
_BEST = "models/checkpoints/best.ckpt"


@pytest.mark.timeout(900)
def test_a_killed_training_goes_on_on_another_machine_to_the_byte(finished_project: Project, tmp_path: Path):
    first, second = (_machine(finished_project, tmp_path, name) for name in ("first", "second"))
    with (tmp_path / "log").open("w") as log:
        killed = subprocess.Popen(_TRAIN, cwd=first.path, env={**os.environ, "WANDB_MODE": "disabled"}, stdout=log)
        until(lambda: any((tmp_path / "store").glob("*/step-*.ckpt.sha256")), "a state is stored")
        killed.kill()
        killed.wait()
    shutil.rmtree(first.path)
    told = second.run(*_TRAIN, WANDB_MODE="disabled").stdout
    assert "the state of this training comes from" in told
    assert "going on with the unfinished training" in told
    assert file_digest(second.path / _BEST) == file_digest(finished_project.path / _BEST)
    assert [path.name for path in (tmp_path / "store").glob("*/*.ckpt")] == ["finished.ckpt"]
    second.run(sys.executable, "-m", "stages.test", WANDB_MODE="disabled")
    assert list((tmp_path / "store").iterdir()) == []


def _machine(finished_project: Project, tmp_path: Path, name: str) -> Project:
    shutil.copytree(finished_project.path, tmp_path / name, symlinks=True)
    project = Project(tmp_path / name)
    shutil.rmtree(project.path / ".lightline", ignore_errors=True)
    shutil.rmtree(project.path / "models")
    settings = {"every_n_train_steps": 3, "train_time_interval": "null", "store": tmp_path / "store"}
    project.set_conf("checkpoint/default", **settings)
    return project
