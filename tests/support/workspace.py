"""A DVC repository with three small stages that take no time, run by the real stage runner."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.support import ROOT

_WAIT = 180.0  # seconds within which what a test waits for must have come, on a busy machine too

# Before `train` lies a folder and a file that it reads. `train` does what a test says.
_PIPELINE = """
stages:
  source:
    cmd: python -m stages_here source
    always_changed: true
    outs: [data.json]
  split:
    cmd: python -m stages_here split
    params: [seed]
    outs: [images, rows]
  train:
    cmd: python -m stages_here train
    deps: [images, rows]
    params: [trainer]
    outs: [model]
"""
_STAGES = """
import os, signal, subprocess, sys, time
from pathlib import Path
from lightline.runtime import supervision
from lightline.runtime.stage import run_stage

supervision._PATIENCE = 1.0

def source(params):
    Path("data.json").write_text("1")

def split(params):
    Path("images/small").mkdir(parents=True, exist_ok=True)
    for name in ("a", "small/b"):
        Path("images", name).write_text(name * 1000)
    Path("rows").write_text("rows " * 1000)

def train(params):
    WORK
    Path("model").write_text("model")

run_stage(globals()[sys.argv[1]])
"""


class Workspace:
    """A DVC repository with stages of its own."""

    def __init__(self, path: Path):
        self.path = path
        self._started: list[subprocess.Popen] = []

    @classmethod
    def make(cls, path: Path) -> "Workspace":
        """A new one, in which nothing has run."""
        path.mkdir()
        for command in (("git", "init", "--quiet"), ("dvc", "init", "--quiet")):
            subprocess.run(command, cwd=path, check=True)
        shutil.copy(ROOT / "params.yaml", path)
        (path / "dvc.yaml").write_text(_PIPELINE)
        (path / ".gitignore").write_text("/.lightline\n")
        workspace = cls(path)
        workspace.work("pass")
        return workspace

    def work(self, code: str) -> None:
        """What the train stage does."""
        (self.path / "stages_here.py").write_text(_STAGES.replace("    WORK", f"    {code.strip()}"))

    def start(self, *command: str, **variables: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        with self._log(len(self._started)).open("w") as log:
            outputs = {"stdout": log, "stderr": log}
            process = subprocess.Popen(command, cwd=self.path, env=environment, start_new_session=True, **outputs)
        self._started.append(process)
        return process

    def told(self, process: subprocess.Popen) -> str:
        """What a process and those below it have printed."""
        return self._log(self._started.index(process)).read_text()

    def run(self, *command: str, **variables: str) -> tuple[int, str]:
        """The exit status and all that was printed."""
        process = self.start(*command, **variables)
        return process.wait(_WAIT), self.told(process)

    def git(self, *arguments: str) -> str:
        return subprocess.run(("git", *arguments), cwd=self.path, check=True, capture_output=True, text=True).stdout

    def cached(self, path: str) -> Path:
        """The object of an output in DVC's cache."""
        return cached_object(self.path, path)

    def end(self) -> None:
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _log(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}-{number}.log")


def cached_object(repository: Path, path: str) -> Path:
    """Where DVC's cache has the object of an output."""
    lock = yaml.safe_load((repository / "dvc.lock").read_text())["stages"]
    (digest,) = (out["md5"] for stage in lock.values() for out in stage["outs"] if out["path"] == path)
    return repository / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def damage(file: Path) -> None:
    """As a disk does it: the same size, the same permissions, nothing but zeros."""
    mode = file.stat().st_mode
    file.chmod(0o644)
    file.write_bytes(bytes(file.stat().st_size))
    file.chmod(mode)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for what must come; where it takes long to ask, it is asked less often."""
    end = time.monotonic() + _WAIT
    while True:
        asked = time.monotonic()
        if condition():
            return
        if time.monotonic() > end:
            pytest.fail(f"not so after {_WAIT:.0f} s: {what}")
        time.sleep(max(0.02, 4 * (time.monotonic() - asked)))


def lives(pid: int) -> bool:
    """Whether a process works; one that has ended and waits to be asked how does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def kill_all(processes: list[Any]) -> None:
    """Kill processes at once, so that none can tell of the end of another."""
    for do in (psutil.Process.suspend, psutil.Process.kill):
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                do(each)
