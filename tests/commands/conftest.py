"""A project with an experiment to trace, and the command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands.trace import main
from tests.support.project import Project


@pytest.fixture(scope="session")
def traced(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project and an experiment beside it, which exported the same network otherwise."""
    project = Project(shutil.copytree(finished_project.path, tmp_path_factory.mktemp("traced") / "p", symlinks=True))
    asked = ("-S", "export.opset=21", "-S", "export.latency=false")
    project.run("dvc", "exp", "run", "--name", "other-opset", *asked)
    shutil.copy(project.path / "models/model.onnx", project.path.parent / "experiment.onnx")
    project.run("git", "checkout", "--quiet", ".")
    project.run("dvc", "checkout", "--quiet")
    return project


@pytest.fixture
def here(traced: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The same, as the working directory. Tests only read it."""
    monkeypatch.chdir(traced.path)
    return traced


@pytest.fixture
def changed(traced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, to be changed, as the working directory."""
    shutil.copytree(traced.path, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture
def trace(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command: gives its status and what it printed, JSON read."""

    def give(file: Path | str, *options: str) -> tuple[int, Any]:
        status = main([str(file), *options])
        told = capsys.readouterr().out
        return status, json.loads(told) if "--json" in options else told

    return give
