"""Runs whose processes are killed: what Prefect shows, what stays in .dvc/tmp/flows/, what the next run finds."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.support.prefect_server import prefect_server
from tests.support.workspace import kill_all, until

_HANG = """
if 'HANG' in os.environ:
    pathlib.Path(os.environ['HANG']).touch()
    time.sleep(600)
"""


_WAIT = """
pathlib.Path(os.environ['WAITS']).touch()
while not pathlib.Path(os.environ['GO']).exists():
    time.sleep(0.05)
"""


class Runs:
    """Flow runs of a project that hang in their train stage, until they are killed."""

    def __init__(self, project, server):
        self._project, self._server = project, server
        self._processes: dict[str, psutil.Popen] = {}

    def start(self) -> str:
        """Gives the flow run's id."""
        hangs = self._project.path.parent / f"hangs-{len(self._processes)}"
        command = (sys.executable, "-m", "flows.pipeline")
        environment = {**os.environ, "PREFECT_API_URL": self._server.url, "HANG": str(hangs)}
        process = psutil.Popen(command, cwd=self._project.path, env=environment, stderr=subprocess.DEVNULL)
        until(hangs.exists, "the train stage runs")
        run = self._server.flow_runs()[0]["id"]
        self._processes[run] = process
        return run

    def kill(self, run: str) -> None:
        """All of a run's processes at once, so that none can tell of the end of another."""
        process = self._processes[run]
        kill_all([process, *process.children(recursive=True)])
        process.wait()

    def state(self, run: str) -> dict[str, Any]:
        (found,) = (each for each in self._server.flow_runs() if each["id"] == run)
        return found["state"]

    def clones(self) -> list[Path]:
        return [path for path in (self._project.path / ".dvc/tmp/flows").iterdir() if path.is_dir()]

    def end(self) -> None:
        for run, process in self._processes.items():
            if process.poll() is None:
                self.kill(run)


@pytest.fixture
def runs(small_project, set_work, server) -> Iterator[Runs]:
    set_work(small_project, _HANG)
    runs = Runs(small_project, server)
    yield runs
    runs.end()


def test_what_a_power_cut_leaves_is_cleared_by_the_next_run_and_by_a_worker(small_project, server, flow, runs):
    first = runs.start()
    (clone,) = runs.clones()
    runs.kill(first)
    assert runs.state(first)["type"] == "RUNNING"
    assert clone.exists()

    second = runs.start()
    assert runs.state(first)["type"] == "CRASHED"
    assert "unfinished training goes on" in runs.state(first)["message"]
    assert not clone.exists()
    (clone,) = runs.clones()

    # A run that lives and one of another machine are nobody else's business.
    foreign = small_project.path / ".dvc/tmp/flows/foreign.run"
    foreign.write_text(json.dumps({"flow_run": second, "host": "elsewhere", "api": server.url}))
    assert "has crashed" not in _worker(small_project, server)
    assert runs.state(second)["type"] == "RUNNING"
    assert clone.exists()

    runs.kill(second)
    assert f"Flow run {second} has crashed" in _worker(small_project, server)
    assert runs.state(second)["type"] == "CRASHED"
    assert list((small_project.path / ".dvc/tmp/flows").iterdir()) == [foreign]

    flow(small_project)
    last = server.flow_runs()[0]
    assert server.task_states(last["id"]) == {"download": "Cached", "train": "Ran"}
    assert list((small_project.path / ".dvc/tmp/flows").iterdir()) == [foreign]

    # Of those that died, one was deleted, and one a person has cancelled.
    flow_of = httpx.get(f"{server.url}/flow_runs/{last['id']}").json()["flow_id"]
    asked = {"flow_id": flow_of, "state": {"type": "CANCELLING"}}
    cancelled = httpx.post(f"{server.url}/flow_runs/", json=asked).raise_for_status().json()["id"]
    for number, gone in enumerate((str(uuid4()), cancelled)):
        note = {"flow_run": gone, "host": socket.gethostname(), "api": server.url}
        foreign.with_name(f"gone-{number}.run").write_text(json.dumps(note))
    assert "has crashed" not in _worker(small_project, server)
    assert runs.state(cancelled)["type"] == "CANCELLED"
    assert list((small_project.path / ".dvc/tmp/flows").iterdir()) == [foreign]


def test_a_server_that_goes_away_in_the_middle_costs_a_warning(
    small_project, set_work, prefect_database, tmp_path: Path
):
    set_work(small_project, _WAIT)
    (tmp_path / "home").mkdir()
    with prefect_server(tmp_path / "home", prefect_database) as server:
        waits, may_go = tmp_path / "waits", tmp_path / "go"
        environment = {**os.environ, "PREFECT_API_URL": server.url, "WAITS": str(waits), "GO": str(may_go)}
        command = (sys.executable, "-m", "flows.pipeline", "-n", "alone")
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=small_project.path, env=environment, **pipes) as flow:
            until(waits.exists, "the train stage runs")
            server.end()
            may_go.touch()
            out, err = flow.communicate(timeout=240)
    assert flow.returncode == 0, err
    assert "experiment  alone" in out
    assert "warning: The Prefect server has gone" in err
    assert "alone" in small_project.experiments()


@pytest.mark.usefixtures("deployed")
def test_a_worker_takes_up_what_died_with_the_one_before(small_project, set_work, server, start_worker, tmp_path: Path):
    set_work(small_project, _HANG)
    hangs = tmp_path / "hangs"
    first = start_worker(HANG=str(hangs))
    _ask_for_a_run(small_project, server, "again")
    until(hangs.exists, "the train stage runs")
    (died,) = (run["id"] for run in server.flow_runs() if run["state_type"] == "RUNNING")
    kill_all([first, *first.children(recursive=True)])
    first.wait()
    start_worker()
    until(lambda: "again" in small_project.experiments(), "the run is taken up")
    until(lambda: server.flow_runs()[0]["state_type"] == "COMPLETED", "it ends")
    states = {run["id"]: run["state_type"] for run in server.flow_runs()}
    assert states.pop(died) == "CRASHED"
    assert server.task_states(server.flow_runs()[0]["id"]) == {"download": "Cached", "train": "Ran"}


@pytest.mark.usefixtures("deployed")
def test_a_run_goes_on_without_its_worker_and_the_next_leaves_it_alone(
    small_project, set_work, server, start_worker, tmp_path: Path
):
    set_work(small_project, f"{_WAIT}\nprint('nobody reads this')")
    waits, may_go = tmp_path / "waits", tmp_path / "go"
    worker = start_worker(WAITS=str(waits), GO=str(may_go))
    _ask_for_a_run(small_project, server, "alone")
    until(waits.exists, "the train stage runs")
    (run,) = (run["id"] for run in server.flow_runs() if run["state_type"] == "RUNNING")
    processes = worker.children(recursive=True)
    worker.kill()
    worker.wait()
    try:
        assert "has crashed" not in _worker(small_project, server)
        may_go.touch()
        psutil.wait_procs(processes, timeout=180)
    finally:
        kill_all(processes)
    (state,) = (each["state"] for each in server.flow_runs() if each["id"] == run)
    assert state["type"] == "COMPLETED", state["message"]
    assert "nobody reads this" in server.logs(run)
    assert "alone" in small_project.experiments()


def _ask_for_a_run(project, server, experiment: str) -> None:
    asked = ("deployment", "run", "pipeline/local", "-p", f'experiment="{experiment}"')
    project.run("prefect", *asked, PREFECT_API_URL=server.url)


def _worker(project, server) -> str:
    """What `python -m flows.worker` says before it is a worker."""
    return project.run(sys.executable, "-m", "flows.worker", "--help", PREFECT_API_URL=server.url).stdout
