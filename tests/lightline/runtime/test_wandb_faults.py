"""No failure of W&B is one of training: it costs one warning, and the results are those of an undisturbed run."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.support.small_disk import namespace
from tests.support.tiny import ROOT, tiny_params, tiny_task
from tests.support.wandb_faults import DISK_FAULTS, FAULTS
from tests.support.wandb_file import read_offline_runs

EPOCHS = 3
KEY = "k" * 40
LEFT_OUT = "warning: W&B is left out of the rest of this run: "
KEPT = "warning: W&B cannot be reached or refuses the key; this run is kept offline for `wandb sync`: "

SAID = {
    "service killed in training": LEFT_OUT + "Connection lost",
    "service killed at the end": LEFT_OUT + "Connection lost",
    "disk full": LEFT_OUT + "No space left on device in {origin}/wandb, where 0 bytes are free",
    "disk full at the end": LEFT_OUT + "No space left on device in {origin}/wandb, where 0 bytes are free",
    "no server": KEPT,
    "silent server": KEPT,
    "wrong key": KEPT + "Failed to get resume status for run ",
}


class Unauthorized(BaseHTTPRequestHandler):
    """Answers as api.wandb.ai does to a key that it does not know."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"errors":[{"message":"user is not logged in","path":["viewer"]}],"data":{"viewer":null}}'
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """The address for each fault of the network."""
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Unauthorized) as unauthorized,
        socket.create_server(("127.0.0.1", 0)) as silent,  # the system takes connections, and nobody answers
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        thread = threading.Thread(target=unauthorized.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        ports = {
            "wrong key": unauthorized.server_port,
            "silent server": silent.getsockname()[1],
            "no server": closed.getsockname()[1],
        }
        closed.close()
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        unauthorized.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def folder(once) -> Path:
    """A folder for each fault, in which the train stage has run."""

    def make(folder: Path) -> None:
        (folder / "project").mkdir()
        with pytest.MonkeyPatch.context() as patch, servers() as addresses:
            patch.chdir(folder / "project")
            train_with_all(folder, addresses)

    return once("wandb_faults", make)


def train_with_all(folder: Path, addresses: dict[str, str]) -> None:
    params = tiny_params(tracking__mode="offline", trainer__max_epochs=EPOCHS)
    tiny_task(params)
    Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    online = {"WANDB_MODE": "online", "WANDB_API_KEY": KEY}
    begin = namespace()
    environments = {
        name: {**online, "WANDB_BASE_URL": addresses[name]} if name in addresses else {}
        for name in FAULTS
        if begin or name not in DISK_FAULTS
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    del environment["WANDB_SILENT"]  # as a user's
    command = [
        *(begin or ()),
        sys.executable,
        "-m",
        "tests.support.wandb_faults",
        str(folder),
        json.dumps(environments),
    ]
    subprocess.run(command, env=environment, check=True)


def results(folder: Path) -> dict[str, str]:
    files = [path for part in ("models", "reports") for path in (folder / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_an_undisturbed_run_says_nothing(folder):
    assert (folder / "none/status").read_text() == "0"
    assert (folder / "none/err").read_text() == ""
    assert len(results(folder / "none")) == 8
    (run,) = read_offline_runs(folder / "none")
    assert [row["epoch"] for row in run.history if "epoch" in row] == list(range(1, EPOCHS + 1))


@pytest.mark.parametrize("fault", SAID)
def test_a_failure_costs_one_warning_and_nothing_else(folder, fault):
    place = folder / fault
    if fault in DISK_FAULTS and namespace() is None:
        pytest.skip("the system lets nobody mount a small disk here")
    (line,) = (place / "err").read_text().splitlines()
    # Who notices a dead service first: W&B, or the socket.
    line = line.replace("[Errno 104] Connection reset by peer", "Connection lost")
    assert line.startswith(SAID[fault].format(origin=place))
    assert KEY not in line
    assert (place / "status").read_text() == "0"
    assert f"epoch {EPOCHS}/{EPOCHS}" in (place / "out").read_text()
    assert results(place) == results(folder / "none")


@pytest.mark.parametrize("fault", ["no server", "silent server", "wrong key"])
def test_a_run_that_cannot_be_sent_is_kept_offline(folder, fault):
    (run,) = read_offline_runs(folder / fault)
    assert [row["epoch"] for row in run.history if "epoch" in row] == list(range(1, EPOCHS + 1))


def test_every_fault_is_looked_at():
    assert set(SAID) == set(FAULTS) - {"none"}
