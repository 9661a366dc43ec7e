"""A machine with a clone and a DVC remote, and no photos: it goes on with the dataset that was made of them."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.workspace import Request, open_workspace
from tests.support.photo_folder import make_folder, ran
from tests.support.project import Project, copy_project

_WARNING = "warning: data.path = {path!r} is neither a folder nor a file. The dataset that dvc.lock has of it is taken"


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Where the photos were: a project with its own images, all pushed. Tests only clone it."""
    folder = tmp_path_factory.mktemp("laptop")
    make_folder(folder / "photos", per_class=4)
    project = copy_project(folder / "project")
    project.set_conf("data/folder", path=folder / "photos")
    config = project.path / "conf/config.yaml"
    config.write_text(config.read_text().replace("- data: digits", "- data: folder"))
    project.run(sys.executable, "tools/params.py")
    project.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    project.run("dvc", "repro", "split")
    project.commit("photos")
    project.run("dvc", "push")
    shutil.rmtree(folder / "photos")
    return project


@pytest.fixture
def clone(laptop: Project, tmp_path: Path) -> Project:
    subprocess.run(("git", "clone", "--quiet", laptop.path, tmp_path / "clone"), check=True)
    return Project(tmp_path / "clone")


def _warning(laptop: Project) -> str:
    return _WARNING.format(path=str(laptop.path.parent / "photos"))


def _images(folder: Path) -> int:
    return json.loads((folder / "data/dataset/dataset.json").read_text())["num_images"]


def test_repro_and_experiments_go_on_with_the_recorded_dataset(laptop: Project, clone: Project):
    """Nothing was pulled before."""
    told = clone.run("dvc", "repro", "split").stdout
    assert _warning(laptop) in told
    assert ran(told) == ["source", "split"]
    assert _images(clone.path) == 12
    assert clone.run("git", "status", "--porcelain").stdout == ""

    told = clone.run("dvc", "exp", "run", "--name", "other", "-S", "seed=5", "split").stdout
    assert _warning(laptop) in told
    assert ran(told) == ["source", "split"]
    assert "other" in clone.experiments()


def test_a_worker_elsewhere_goes_on_with_it(laptop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines: list[str] = []

    async def run() -> tuple[list[bool], int]:
        request = Request(["seed=5"], repo=f"file://{laptop.path}", experiment="elsewhere", targets=["split"])
        async with open_workspace(request, lines.append) as workspace:
            steps = [await workspace.reproduce(stages, lines.append) for _, stages in workspace.steps]
            await workspace.save(["split"])
            return steps, _images(workspace.folder)

    assert asyncio.run(run()) == ([False, True], 12)
    assert any(_warning(laptop) in line for line in lines)
    assert "elsewhere" in laptop.experiments()


def test_only_the_dataset_of_the_same_source_parameters_and_code_is_taken(clone: Project):
    def refused(*command: str) -> str:
        done = clone.run(*command, check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        return done.stderr

    mistyped = refused("dvc", "exp", "run", "-S", "data.path=/nowhere/photos", "split")
    assert "error: data.path = '/nowhere/photos' is neither a folder nor a file. Put the images there" in mistyped
    assert "dvc.lock" not in mistyped
    clone.run("git", "checkout", "--quiet", ".")
    other = refused("dvc", "exp", "run", "-S", "data.max_pixels=1000", "split")
    assert "is neither a folder nor a file. Put the images there" in other
    assert "dvc.lock has a dataset of it that would be taken, but was made with data.max_pixels =" in other
    assert "(now 1000). Go back to that, or run `dvc repro download`" in other

    clone.run("git", "checkout", "--quiet", ".")
    code = clone.path / "lightline_predict/images.py"
    code.write_text(f"{code.read_text()}\n# changed\n")
    assert "was made by other code (lightline_predict/images.py)" in refused("dvc", "repro", "split")
    clone.run("git", "checkout", "--quiet", ".")
    clone.run("dvc", "remote", "modify", "store", "url", str(clone.path / "nothing"))
    assert "the default remote does not have it (`dvc push` where it was made)" in refused("dvc", "repro", "split")
    clone.run("dvc", "remote", "remove", "store")
    assert "there is no default remote" in refused("dvc", "repro", "split")
