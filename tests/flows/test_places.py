"""Where a repository lies, and what its path holds, does not matter to a run."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from flows.errors import RequestError
from flows.git import find_origin, find_project
from flows.workspace import Request, open_workspace
from tests.support.project import Project


@pytest.mark.parametrize(
    ("root", "folder"),
    [
        ("""josé 日本 it's "q" [1] #2 %(x)s 50% a=b,c""", ""),
        ("large", "vision/lightline"),
    ],
    ids=["odd characters", "a folder of a larger repository"],
)
def test_a_run_and_its_results(small_project: Project, flow, tmp_path: Path, root: str, folder: str):
    moved = _move(small_project, tmp_path / root, folder)
    flow(moved, "--apply", "-S", "trainer.max_epochs=7", "-n", "first")
    assert (moved.path / "models/model.onnx").read_text() == "model"
    assert "max_epochs: 7\n" in (moved.path / "params.yaml").read_text()
    assert moved.experiments() == {"first"}
    again = flow(moved, "-S", "trainer.max_epochs=7", LC_ALL="C")
    assert "nothing had changed: all from the cache" in again.stdout
    assert moved.experiments() == {"first"}

    moved.run("dvc", "exp", "run", "--name", "second", "-S", "trainer.max_epochs=8")
    assert moved.experiments() == {"first", "second"}
    moved.run("python", "tools/params.py")
    moved.run("python", "tools/params.py", "--check")


def test_a_remote_whose_address_holds_what_is_not_ascii(small_project: Project, tmp_path: Path):
    small_project.run("dvc", "config", "core.remote", "store")
    with (small_project.path / ".dvc/config").open("a") as config:  # `dvc remote add` cannot write it
        config.write(f"['remote \"store\"']\n    url = {tmp_path}/josé\n")
    small_project.commit()
    shown = []

    async def run():
        async with open_workspace(Request(repo=str(small_project.path)), lambda line: None) as workspace:
            shown.append((workspace.folder / ".dvc/config.local").read_text())

    asyncio.run(run())
    assert "josé" in shown[0]


def test_what_dvc_cannot_do_is_said(tmp_path: Path):
    for name in (b"{x}", b"jos\xe9"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        subprocess.run(("git", "init", "--quiet", path), check=True)
        with pytest.raises(RequestError, match=r"DVC cannot work in a folder .* Rename it\."):
            find_origin(str(path))


def test_the_project_in_a_larger_repository(tmp_path: Path):
    subprocess.run(("git", "init", "--quiet"), cwd=tmp_path, check=True)

    def add(folder: str) -> None:
        (tmp_path / folder / ".dvc").mkdir(parents=True)
        (tmp_path / folder / ".dvc/config").touch()
        subprocess.run(("git", "add", "."), cwd=tmp_path, check=True)

    with pytest.raises(RequestError, match="is no DVC project, and holds none"):
        find_project(tmp_path, Path())
    add("a/vision")
    assert find_project(tmp_path, Path()) == find_project(tmp_path, Path("a/vision/flows")) == Path("a/vision")
    add("b")
    assert find_project(tmp_path, Path("b")) == Path("b")
    with pytest.raises(RequestError, match="holds several DVC projects, a/vision, b, and none in elsewhere"):
        find_project(tmp_path, Path("elsewhere"))
    add("")
    assert find_project(tmp_path, Path("elsewhere")) == Path()


def _move(project: Project, root: Path, folder: str) -> Project:
    """The project's files in a new repository."""
    shutil.rmtree(project.path / ".git")
    (root / folder).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(project.path, root / folder)
    subprocess.run(("git", "init", "--quiet", "--initial-branch=main"), cwd=root, check=True)
    moved = Project(root / folder)
    moved.commit()
    return moved
