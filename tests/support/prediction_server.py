"""`lightline-predict serve`, started as a process of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import httpx

from tests.support import ROOT

_WAIT = 60  # seconds


@dataclass
class Serving:
    """A server that answers: its process, its address, and what it has printed to stderr so far, as lines."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **settings: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=_WAIT, trust_env=False, **settings)  # type: ignore[arg-type]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; gives its exit status."""
        self.process.send_signal(number)
        return self.process.wait(_WAIT)


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lightline_predict", "serve", *map(str, arguments), "--port", "0"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def serving(*arguments: object, **environment: str) -> Iterator[Serving]:
    """Serve on a free port; killed at the end where it still is there."""
    process = start(*arguments, "--threads", 1, **environment)
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    reader = threading.Thread(target=_keep, args=(process.stderr, said))
    reader.start()
    try:
        line = process.stdout.readline()
        assert " answers at http://" in line, (line, said)
        yield Serving(process, line.split()[-1], said)
    finally:
        process.kill()
        process.wait(_WAIT)
        reader.join()
        process.stdout.close()
        process.stderr.close()


def refused(*arguments: object, **environment: str) -> str:
    """Start what does not start; gives what it said, which ends with status 1."""
    process = start(*arguments, **environment)
    _, said = process.communicate(timeout=_WAIT)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    return said


def error(response: httpx.Response) -> tuple[int, str]:
    """The status of a refusal, and its sentence."""
    assert list(response.json()) == ["error"], response.text
    return response.status_code, response.json()["error"]


def until(come: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + _WAIT
    while not come():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def head(length: int) -> bytes:
    """A request for an answer, up to its body."""
    return f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n\r\n".encode()


def connect(server: Serving, sent: bytes = b"") -> socket.socket:
    """A connection to a server, with something sent on it."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=_WAIT)
    connection.sendall(sent)
    return connection


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    received = b""
    try:
        while chunk := connection.recv(2**16):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def metric(server: Serving, name: str) -> float:
    """One line of /metrics, 0 where there is none yet."""
    with server.client() as client:
        found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return 0 if found is None else float(found[1])


def _keep(stream: IO[str], said: list[str]) -> None:
    said.extend(iter(stream.readline, ""))
