"""A Prefect server, and a project whose stages take no time."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support import ROOT
from tests.support.prefect_server import Server, prefect_server
from tests.support.workspace import kill_all, until

_STAGES = """
stages:
  source:
    cmd: mkdir -p data && cp raw.txt data/source.json
    always_changed: true
    outs: [data/source.json]
  download:
    cmd: python work.py download
    deps: [data/source.json, work.py]
    params: [data]
    metrics: [reports/download/metrics.json]
  train:
    cmd: python work.py train
    deps: [reports/download/metrics.json, work.py]
    params: [trainer]
    outs: [models/model.onnx]
    metrics: [reports/train/metrics.json]
"""

_WORK = """
import json, os, pathlib, sys, time

stage = sys.argv[1]
print(f"{stage} of {os.environ.get('LIGHTLINE_EXPERIMENT')}")
reports = pathlib.Path("reports", stage)
reports.mkdir(parents=True, exist_ok=True)
if stage == "train":
    TRAIN
    pathlib.Path("models").mkdir(exist_ok=True)
    pathlib.Path("models/model.onnx").write_text("model")
epochs = next(line for line in open("params.yaml") if "max_epochs" in line).split()[1]
(reports / "metrics.json").write_text(json.dumps({"epochs": int(epochs)}))
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[Server]:
    """A real Prefect server."""
    with prefect_server(tmp_path_factory.mktemp("server"), prefect_database) as server:
        yield server


@pytest.fixture(scope="session")
def deployed(server: Server) -> None:
    """Has the server know the deployments; whose code runs, is the worker's matter: `test_worker`."""
    for command in ("work-pool create local --type process --overwrite", "--no-prompt deploy --all"):
        words, environment = ("prefect", *command.split()), {**os.environ, "PREFECT_API_URL": server.url}
        subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True)


@pytest.fixture
def small_project(project):
    """A project whose stages do nothing; `work(project, code)` puts code into its train stage."""
    (project.path / "dvc.yaml").write_text(_STAGES)
    (project.path / "dvc.lock").write_text("schema: '2.0'\n")
    (project.path / "raw.txt").write_text("1")
    work(project, "pass")
    return project


def work(project, code: str) -> None:
    indented = code.replace("\n", "\n    ")
    (project.path / "work.py").write_text(_WORK.replace("TRAIN", indented))
    project.commit("work")


@pytest.fixture
def flow(server: Server):
    """Run the flow in a project: `flow(project, *arguments)` gives the finished process."""

    def run(project, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "flows.pipeline", *arguments)
        return project.run(*command, check=check, PREFECT_API_URL=server.url, **variables)

    return run


@pytest.fixture
def set_work():
    return work


@pytest.fixture
def start_worker(project, server) -> Iterator[Callable[..., psutil.Popen]]:
    """Start a worker, and wait until its pool is there; nothing of it lives on after the test."""
    started: list[psutil.Popen] = []

    def start(**variables: str) -> psutil.Popen:
        command = (sys.executable, "-m", "flows.worker", "--name", project.path.parent.name)
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        own = {"PREFECT_API_URL": server.url, "PREFECT_WORKER_QUERY_SECONDS": "1", **variables}
        started.append(psutil.Popen(command, cwd=project.path, env={**os.environ, **own}, **quiet))
        until(lambda: httpx.get(f"{server.url}/work_pools/local").is_success, "the work pool is there")
        return started[-1]

    yield start
    for worker in started:
        if worker.is_running():
            kill_all([worker, *worker.children(recursive=True)])
        worker.wait()
