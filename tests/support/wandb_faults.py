"""Train the tiny set once for each way in which W&B can fail, at once, each in a process that ends as a stage ends.

`python -m tests.support.wandb_faults FOLDER FAULTS`: FOLDER/project holds what the train stage reads; FAULTS is JSON,
the environment of each fault by its name (those of the disk need to mount one, see `tests.support.small_disk`). What a
fault leaves is in FOLDER/NAME, with `out`, `err` and `status`. One interpreter imports all and is forked, because
importing takes longer than training.
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from lightline.runtime import tracking
from lightline.runtime.stage import run_stage
from lightline.runtime.tracking import Run
from stages.train.__main__ import main as train

_TIMEOUT = 2  # seconds, for a server that does not answer
_SIZE = 2**20  # bytes of a small disk


def _before(method: str, act: Callable[[], None], call_number: int = 1) -> None:
    """Act once before a method of the run is called, the first time or a later one."""
    original, calls = getattr(Run, method), itertools.count(1)

    def call(run: Run, *arguments, **named):
        if next(calls) == call_number:
            setattr(Run, method, original)
            act()
        return original(run, *arguments, **named)

    setattr(Run, method, call)


def _kill_service() -> None:
    (service,) = [child for child in psutil.Process().children() if "wandb-core" in " ".join(child.cmdline())]
    service.send_signal(signal.SIGKILL)
    psutil.wait_procs([service])


def _fill_disk() -> None:
    with Path("wandb/filler").open("ab", buffering=0) as file:
        for size in (2**12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


FAULTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "service killed in training": lambda: _before("log", _kill_service, call_number=2),
    "service killed at the end": lambda: _before("finish", _kill_service),
    "disk full": _fill_disk,
    "disk full at the end": lambda: _before("finish", _fill_disk),
    "no server": lambda: None,
    "silent server": lambda: None,
    "wrong key": lambda: None,
}
DISK_FAULTS = {"disk full", "disk full at the end"}


def _prepare(folder: Path, name: str) -> None:
    """A project of the fault's own, with W&B's folder on a small disk where that is to be full."""
    shutil.copytree(folder / "project", folder / name)
    if name in DISK_FAULTS:
        (folder / name / "wandb").mkdir()
        disk = str(folder / name / "wandb")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", disk], check=True)


def _train(folder: Path, name: str, environment: dict[str, str]) -> None:
    os.chdir(folder / name)
    for number, file in ((1, "out"), (2, "err")):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(environment)
    FAULTS[name]()
    run_stage(train)


def _main(folder: Path, environments: dict[str, dict[str, str]]) -> None:
    tracking._ONLINE_TIMEOUT = _TIMEOUT
    started = {}
    for name, environment in environments.items():
        _prepare(folder, name)
        started[name] = os.fork()
        if started[name] == 0:
            _train(folder, name, environment)
    for name, process in started.items():
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        (folder / name / "status").write_text(str(status))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), json.loads(sys.argv[2]))
