"""`lightline-predict serve`, started as a process of its own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
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


def _keep(stream: IO[str], said: list[str]) -> None:
    said.extend(iter(stream.readline, ""))
