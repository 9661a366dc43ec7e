"""Fixtures for tests that need a whole project: a git and DVC repository of its own, in a temporary folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from tests.workspace import Workspace

ROOT = Path(__file__).parents[1]
MAX_EPOCHS = yaml.safe_load((ROOT / "params.yaml").read_text())["trainer"]["max_epochs"]

# Read when torch loads, which is before any fixture runs: threads that wait for each other collapse on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"
# A shell's background job ignores Ctrl-C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Keys that every process of the tests finds in its environment, and that no file, log or database may hold afterwards.
PLANTED = {"WANDB_API_KEY": "pla9ted0" * 5, "SERVICE_SECRET": "pla9ted-" * 4}

# No account, no network, no user's settings; one thread a process, because tests share the machine.
ENVIRONMENT = {
    **PLANTED,
    "SHELL": "/bin/sh",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "OMP_NUM_THREADS": "1",
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Project:
    """A copy of this project's working tree, committed, with a DVC cache of its own."""

    path: Path

    def run(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, its output captured as text.

        check: fail with the command's output where its exit status is not 0.
        variables: added to the environment.
        """
        process = subprocess.run(
            command, cwd=self.path, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        if check and process.returncode != 0:
            pytest.fail(f"{' '.join(command)}: exit status {process.returncode}\n{process.stdout}\n{process.stderr}")
        return process

    def set_conf(self, choice: str, **values: object) -> None:
        """Edit values in conf/, as in `set_conf("trainer/default", max_epochs=1)`, and params.yaml with them."""
        file = self.path / "conf" / f"{choice}.yaml"
        text = file.read_text()
        for key, value in values.items():
            text, replaced = re.subn(rf"(?m)^{key}: .*", f"{key}: {value}", text)
            assert replaced == 1, f"{key} is not in {file}"
        file.write_text(text)
        self.run(sys.executable, "tools/params.py")

    def commit(self, message: str = "change") -> str:
        """Commit all that git does not ignore; gives the commit's id."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message)
        return self.run("git", "rev-parse", "HEAD").stdout.strip()

    def experiments(self) -> set[str]:
        """The names of all experiments recorded here."""
        refs = self.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
        return {ref.rsplit("/", 1)[1] for ref in refs if ref.count("/") == 4 and "/exec/" not in ref}


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


def copy_project(target: Path) -> Project:
    """The files that git tracks here or would track, in a new repository."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    project = Project(target)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.commit("start")
    return project


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[..., tuple[Any, Path]]:
    """The checkpoint and the ONNX file of a small network: `exported("resnet18", input_size=32)`. Tests only read."""
    from lightline.checkpoint import load_checkpoint, save_checkpoint
    from lightline.onnx_export import export_onnx
    from tests.samples import make_checkpoint, model_settings

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
