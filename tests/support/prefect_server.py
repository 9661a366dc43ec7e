"""A Prefect server for tests, and what it knows."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import temporary_server

_START = 120.0  # seconds a server has to answer


class Server:
    """A Prefect server and what it knows; home: the folder of its database."""

    def __init__(self, url: str, home: Path, process: subprocess.Popen[bytes]):
        self.url = url
        self.home = home
        self._process = process

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(30)

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


@contextmanager
def prefect_server(folder: Path, database: Path | None = None) -> Iterator[Server]:
    """A real Prefect server, with its database in a folder.

    database: to begin with, see `prefect_database`; without it the server takes ten seconds to make one.
    """
    if database is not None:
        shutil.copy(database, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
            env={**os.environ, **temporary_server._SETTINGS, "PREFECT_HOME": str(folder)},  # without idle services
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}/api", folder, process)
    try:
        _wait_for(server.url, folder / "log")
        yield server
    finally:
        server.end()


def _wait_for(url: str, log: Path) -> None:
    end = time.monotonic() + _START
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"the Prefect server did not start:\n{log.read_text()}")
