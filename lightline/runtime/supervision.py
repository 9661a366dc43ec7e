"""A stage and its surroundings: it ends when DVC ends, and no stage of another run works beside it in one folder.

DVC killed with SIGKILL leaves its stage behind, which would go on writing beside the next run.
"""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import psutil

from lightline.errors import LightlineError
from lightline.runtime.locks import lock
from lightline.runtime.ranks import local_rank

GRACE = 20.0  # seconds a stage has to end after SIGTERM; as many as the flow gives it
_POLL = 0.2  # seconds
_PATIENCE = 5.0  # seconds; `source` of a run that is refused a moment later is over by then
_LOCK = Path(".lightline", "stage.lock")  # of the folder the stage works in, which is not always the user's repository
_RWLOCK = Path(".dvc", "tmp", "rwlock")

_held: list[IO[str]] = []  # open as long as this process lives: the kernel frees the lock with it, however it ends


class BusyError(LightlineError):
    """Another run works in this folder."""

    may_pass = True


def end_with_parent() -> None:
    """End this process, from now on, soon after the one it works for.

    That is the DVC process which runs the stage, and for the other processes of a distributed run their first one too.
    A stage started by hand works for nobody.

    Raises:
        BusyError: the DVC process has ended already.
    """
    keepers = []
    if "DVC_STAGE" in os.environ:
        keeper = _dvc_process()
        if keeper is None:
            raise BusyError("The DVC process that started this stage has ended; run the same command again.")
        keepers.append(keeper)
    if local_rank():
        keepers += psutil.Process().parents()[:1]
    if keepers:
        threading.Thread(target=_watch, args=(keepers,), daemon=True).start()


def occupy_folder() -> None:
    """Keep the stages of other runs out of the working directory until this process has ended.

    A stage whose DVC has died is on its way out, and is waited for.

    Raises:
        BusyError: another run works here; the message names its process.
    """
    _LOCK.parent.mkdir(exist_ok=True)
    file = _LOCK.open("a+", encoding="utf-8")
    start = time.monotonic()
    while not lock(file):
        holder = _read(file)
        waited = time.monotonic() - start
        if waited > (_PATIENCE if _is_kept(holder) else GRACE + _PATIENCE):
            file.close()
            raise BusyError(_refusal(holder))
        time.sleep(_POLL)
    keeper = _dvc_process() if "DVC_STAGE" in os.environ else None
    holder = {"stage": _name(), **_identity(psutil.Process()), "dvc": keeper and _identity(keeper)}
    file.truncate(0)
    json.dump(holder, file)
    file.flush()
    _held.append(file)


def _name() -> str:
    return os.environ.get("DVC_STAGE") or Path(sys.argv[0]).stem


def _dvc_process() -> psutil.Process | None:
    """Find the nearest of this process's ancestors that stands in DVC's own list of who works here.

    Not simply the parent: DVC runs commands with $SHELL, and some shells stay between the two.
    """
    writers = _writers()
    if writers is None:  # the list is being rewritten, or someone has deleted it
        return next(iter(psutil.Process().parents()), None)
    return next((process for process in psutil.Process().parents() if process.pid in writers), None)


def _writers() -> set[int] | None:
    """Read which processes DVC has down as writing outputs; None where that cannot be read."""
    for _ in range(10):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            return {entry["pid"] for entry in json.loads(_RWLOCK.read_bytes())["write"].values()}
        time.sleep(0.05)
    return None


def _watch(keepers: list[psutil.Process]) -> None:
    while not (gone := [keeper for keeper in keepers if not _lives(keeper)]):
        time.sleep(_POLL)
    with suppress(OSError):  # who read this may be gone too
        print(f"process {gone[0].pid}, which ran this stage, has ended: so does the stage", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    os.kill(os.getpid(), signal.SIGKILL)


def _lives(process: psutil.Process) -> bool:
    """Tell whether a process works; one that has ended and whose parent has not asked yet how does not."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _identity(process: psutil.Process) -> dict[str, Any]:
    """Identify a process by its number and its start: the number alone would be another process's some day."""
    return {"pid": process.pid, "since": process.create_time()}


def _is_kept(holder: dict[str, Any]) -> bool:
    """Tell whether a lock's holder works for someone: for a DVC process that lives, or for who started it by hand."""
    dvc = holder.get("dvc")
    with suppress(psutil.NoSuchProcess):
        return not dvc or (
            _lives(psutil.Process(dvc["pid"])) and psutil.Process(dvc["pid"]).create_time() == dvc["since"]
        )
    return False


def _read(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    with suppress(ValueError):
        return json.loads(file.read())
    return {}  # it has the lock and has not written yet who it is


def _refusal(holder: dict[str, Any]) -> str:
    pid = holder.get("pid")
    if pid is None:
        return f"Another run works in {Path.cwd()}. Wait until it has ended, then run the same command again."
    since = datetime.fromtimestamp(holder["since"]).strftime("%H:%M:%S")
    return (
        f"Stage {holder['stage']!r} of another run works in {Path.cwd()}: process {pid}, since {since}. One run at a "
        f"time in a workspace: wait until it has ended, or end it with `kill {(holder['dvc'] or holder)['pid']}`; then "
        "run the same command again. `make run` needs no waiting: it works in a clone of its own."
    )
