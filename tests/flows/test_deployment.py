"""The commands of docs/prefect.md, from an empty machine to a finished run, and to one that a schedule has started."""

import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import ROOT

DOCUMENT = ROOT / "docs" / "prefect.md"
_START = 120.0  # seconds for the server to answer, and for the worker to come up


@pytest.fixture
def quick_project(project):
    """The real stages, with a network and a training that take little time."""
    project.set_conf("trainer/default", max_epochs=1, limit_train_batches=1)
    project.set_conf("model/resnet18", input_size=16)
    # What a schedule starts has no overrides: the same as was asked for by hand comes from the cache.
    config = project.path / "conf/config.yaml"
    config.write_text(config.read_text().replace("- model: cnn", "- model: resnet18"))
    project.run("python", "tools/params.py")
    project.commit("quick")
    return project


@pytest.mark.timeout(900)
def test_the_documents_commands(quick_project, tmp_path):
    server, worker, deploy, run = _commands()
    assert run == "prefect deployment run 'pipeline/local' -p overrides='[\"model=resnet18\"]' --watch"
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "WANDB_MODE": "disabled",
    }
    with _background(quick_project.path, environment, tmp_path / "log") as start:
        start(server)
        _wait(lambda: httpx.get(f"{url}/health").is_success, tmp_path / "log")
        start(worker)
        _wait(lambda: httpx.get(f"{url}/work_pools/local").is_success, tmp_path / "log")
        quick_project.run(*shlex.split(deploy), **environment)
        wrong = shlex.split(run.replace("model=resnet18", "trainer.max_epoch=3"))
        watched = quick_project.run(*wrong, **environment, check=False)
        assert watched.returncode == 1
        assert "trainer.max_epoch = 3 is not a parameter; did you mean trainer.max_epochs?" in " ".join(
            watched.stdout.split()
        )
        watched = quick_project.run(*shlex.split(run), **environment)
        assert "finished successfully" in watched.stdout
        _check(url)
        _check_schedules(quick_project, url, environment, tmp_path / "log")
    (name,) = quick_project.experiments()
    assert name in quick_project.run("dvc", "exp", "show", "--json", "--no-fetch").stdout
    assert quick_project.run("git", "status", "--porcelain").stdout == ""
    assert not (quick_project.path / "models").exists()


def _check(url: str) -> None:
    """What the server knows after the run."""
    tasks = httpx.post(f"{url}/task_runs/filter", json={}).json()
    stages = ("download", "split", "train", "test", "export", "report")
    assert {task["name"]: task["state_name"] for task in tasks} == dict.fromkeys(stages, "Ran")
    artifacts = httpx.post(f"{url}/artifacts/filter", json={}).json()
    assert {artifact["key"] for artifact in artifacts} == {"history", "metrics", "summary", "confusion", "report"}
    runs = httpx.post(f"{url}/flow_runs/filter", json={}).json()
    (run,) = [run for run in runs if run["state_type"] == "COMPLETED"]
    assert len(run["labels"]["fingerprint"]) == 64
    for name in ("pipeline/nightly", "monitor/daily"):
        scheduled = httpx.get(f"{url}/deployments/name/{name}").json()
        assert [schedule["active"] for schedule in scheduled["schedules"]] == [False]
    for deployment in ("pipeline/local", "promote/local"):
        form = httpx.get(f"{url}/deployments/name/{deployment}").json()["parameter_openapi_schema"]["properties"]
        assert all(len(field["description"]) > 40 for field in form.values())


def _check_schedules(project, url: str, environment: dict[str, str], log: Path) -> None:
    """A run comes of a new schedule and ends well, and runs are planned for one that was off; no error repeats."""
    project.run(*shlex.split(_schedule()), **environment)
    _wait(lambda: any(run["start_time"] for run in _scheduled(url, "local")), log)
    project.run("prefect", "--no-prompt", "deployment", "schedule", "clear", "pipeline/local", "-y", **environment)
    nightly = httpx.get(f"{url}/deployments/name/pipeline/nightly").json()["schedules"][0]["id"]
    project.run("prefect", "deployment", "schedule", "resume", "pipeline/nightly", nightly, **environment)
    _wait(lambda: _scheduled(url, "nightly"), log)
    _wait(lambda: all(run["end_time"] for run in _scheduled(url, "local") if run["start_time"]), log)
    started = [run for run in _scheduled(url, "local") if run["start_time"]]
    assert [run["state_type"] for run in started] == ["COMPLETED"] * len(started)
    errors = Counter(line.rpartition(" | ")[2] for line in log.read_text().splitlines() if "| ERROR" in line)
    assert [message for message, times in errors.items() if times > 2] == [], log.read_text()


def _schedule() -> str:
    """The document's command, with a time that a test can wait for."""
    block = re.search(r"test_deployment.py runs the first. -->\n```sh\n(.*?)\n", DOCUMENT.read_text())
    assert block
    assert block[1].endswith("--interval 3600")
    return block[1].replace("3600", "20")


def _scheduled(url: str, deployment: str) -> list[dict[str, Any]]:
    query = {"deployments": {"name": {"any_": [deployment]}}}
    runs = httpx.post(f"{url}/flow_runs/filter", json=query).raise_for_status().json()
    return [run for run in runs if run["auto_scheduled"]]


@contextmanager
def _background(folder: Path, environment: dict[str, str], log: Path):
    """Gives a function that starts a command; all are ended with Ctrl-C, the last first."""
    processes = []

    def start(command: str) -> None:
        with log.open("a") as output:
            processes.append(
                subprocess.Popen(
                    shlex.split(command),
                    cwd=folder,
                    env={**os.environ, **environment},
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )

    try:
        yield start
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGINT)
        for process in reversed(processes):
            _end(process)


def _commands() -> list[str]:
    block = re.search(r"test_deployment.py runs these. -->\n```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert block
    return block[1].splitlines()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait(ready, log: Path) -> None:
    end = time.monotonic() + _START
    while time.monotonic() < end:
        try:
            if ready():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"not ready after {_START} s:\n{log.read_text()}")


def _end(process: subprocess.Popen) -> None:
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
