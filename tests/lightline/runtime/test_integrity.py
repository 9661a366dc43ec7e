"""A stage under DVC checks what it reads, before it works on it."""

import shutil
import sys
from pathlib import Path

import pytest

from lightline.runtime.digests import Digests
from tests.support.workspace import Workspace, damage


def _object(workspace: Workspace, path: str) -> Path:
    """What in the cache holds the content of an output: its object, or that of one of its files."""
    if path == "rows":
        return workspace.cached(path)
    digest = Digests(workspace.path / "record").of_file(workspace.path / path / "small" / "b")
    return workspace.path / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def _forget(workspace: Workspace, *paths: str) -> None:
    for path in paths:
        place = workspace.path / path
        shutil.rmtree(place) if place.is_dir() else place.unlink()


@pytest.mark.parametrize("path", ["rows", "images"])
def test_what_dvc_restored_from_a_damaged_object_is_not_worked_on(workspace: Workspace, path: str):
    assert workspace.run("dvc", "repro")[0] == 0
    object_ = _object(workspace, path)
    damage(object_)
    _forget(workspace, path)
    workspace.work("Path('worked').touch()")
    status, told = workspace.run("dvc", "checkout")
    assert status == 0, told
    status, told = workspace.run("dvc", "repro", "--force", "--single-item", "train")
    assert status != 0
    assert f"error: {path} is not what stage 'split' wrote" in told
    assert str(object_) in told
    assert "`make repair`" in told
    assert "Traceback" not in told
    assert not (workspace.path / "worked").exists()
    # By hand, a person may have any file read.
    assert workspace.run(sys.executable, "-m", "stages_here", "train")[0] == 0


def test_a_changed_file_is_not_taken_for_the_recorded_one(workspace: Workspace):
    assert workspace.run("dvc", "repro")[0] == 0
    (workspace.path / "rows").write_text("mine")
    status, told = workspace.run("dvc", "repro", "--single-item", "train")
    assert status != 0
    assert "`rm -r rows && dvc checkout rows` brings that back; `dvc commit --force split` takes" in told
    assert workspace.run("dvc", "commit", "--force", "split")[0] == 0
    status, told = workspace.run("dvc", "repro", "--single-item", "train")
    assert status == 0, told
