"""A Prefect server, and a project whose stages take no time."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

_START = 120.0  # seconds a server has to answer

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


class Server:
    """A Prefect server and what it knows; home: the folder of its database."""

    def __init__(self, url: str, home: Path):
        self.url = url
        self.home = home

    def flow_runs(self) -> list[dict[str, Any]]:
        """The latest first."""
        return self._filter("flow_runs", sort="START_TIME_DESC")

    def task_states(self, flow_run: str) -> dict[str, str]:
        """The final state's name of each task of a flow run."""
        for _ in range(50):  # tasks' states arrive as events, a moment after the flow's end
            runs = self._filter("task_runs", flow_runs={"id": {"any_": [flow_run]}})
            if runs and all(run["end_time"] for run in runs):
                break
            time.sleep(0.2)
        return {run["name"]: run["state_name"] for run in sorted(runs, key=lambda run: run["start_time"])}

    def logs(self, flow_run: str) -> list[str]:
        logs = self._filter("logs", logs={"flow_run_id": {"any_": [flow_run]}}, sort="TIMESTAMP_ASC")
        return [log["message"] for log in logs]

    def artifacts(self, flow_run: str) -> dict[str, Any]:
        found = self._filter("artifacts", flow_runs={"id": {"any_": [flow_run]}})
        return {artifact["key"]: artifact["data"] for artifact in found}

    def _filter(self, what: str, **query: Any) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/{what}/filter", json=query, timeout=30)
        return answer.raise_for_status().json()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Prefect server, which the environment names."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
            env={**os.environ, "PREFECT_HOME": str(folder)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}/api", folder)
    try:
        _wait_for(server.url, folder / "log")
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, log: Path) -> None:
    end = time.monotonic() + _START
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"the Prefect server did not start:\n{log.read_text()}")


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
