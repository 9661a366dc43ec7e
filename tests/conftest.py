"""What all tests run in, and the projects that they share."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.support.project import ENVIRONMENT, Project, copy_project
from tests.support.workspace import Workspace

# Read when torch loads, which is before any fixture runs: threads that wait for each other collapse on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"
# A shell's background job ignores Ctrl-C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the user's reaches a test, and nothing of a test reaches the user."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("DVC_", "LIGHTLINE_", "PREFECT_", "GIT_"))]:
            patch.delenv(name)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("PREFECT_HOME", str(home / "prefect"))
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        yield


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test, with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project to change, with nothing in its cache."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A repository with small stages; whatever a test starts in it is killed at its end."""
    workspace = Workspace.make(tmp_path / "workspace")
    yield workspace
    workspace.end()


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A project in which all stages ran on the digits, for two epochs, committed. Tests only read it."""
    alone = worker_id == "master"
    folder = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    with FileLock(folder / "finished_project.lock"):  # one for all of pytest-xdist's workers
        path = folder / "finished_project"
        if not (path / ".git" / "finished").exists():
            project = copy_project(path)
            project.set_conf("trainer/default", max_epochs=2)
            project.run("dvc", "repro")
            project.commit("two epochs")
            (path / ".git" / "finished").touch()
    return Project(path)


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The empty database of a Prefect server, to be copied."""
    basetemp = tmp_path_factory.getbasetemp()
    home = (basetemp if worker_id == "master" else basetemp.parent) / "prefect"
    with FileLock(home.with_suffix(".lock")):  # one for all of pytest-xdist's workers
        if not (home / "prefect.db").exists():
            command = ("prefect", "server", "database", "upgrade", "-y")
            partial = {"PREFECT_HOME": str(home.with_suffix(".partial"))}
            subprocess.run(command, env=os.environ | partial, check=True, capture_output=True)
            home.with_suffix(".partial").rename(home)
    return home / "prefect.db"


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[..., tuple[Any, Path]]:
    """The checkpoint and the ONNX file of a small network: `exported("resnet18", input_size=32)`. Tests only read."""
    from lightline.models.checkpoint import load_checkpoint, save_checkpoint
    from stages.export.exporter import export_onnx
    from tests.support.samples import make_checkpoint, model_settings

    basetemp = tmp_path_factory.getbasetemp()
    folder = basetemp if worker_id == "master" else basetemp.parent

    def give(name: str, **changes: Any) -> tuple[Any, Path]:
        settings = model_settings(name, **changes)
        place = folder / "exported" / "-".join(str(value) for value in settings.model_dump().values()).replace("/", "-")
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):  # exporting takes seconds: one for all of pytest-xdist's workers
            if not (place / "model.onnx").exists():
                save_checkpoint(make_checkpoint(settings), place / "best.ckpt")
                export_onnx(load_checkpoint(place / "best.ckpt"), {"accuracy": 0.75}, 20, place / "partial.onnx")
                (place / "partial.onnx").rename(place / "model.onnx")
        return load_checkpoint(place / "best.ckpt"), place / "model.onnx"

    return give
