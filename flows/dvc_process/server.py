"""DVC for one flow run: imported once, in a process of its own that works in the run's clone.

`python -m flows.dvc_process.server FD LOCK` takes a request a line from stdin, as JSON, and answers each with a line on
the file descriptor FD. What DVC and the stages print goes to stdout. When stdin ends, because the flow is done or dead,
it stops the stage that runs, deletes the clone and goes: nothing of a run outlives its flow. If the flow is dead,
Prefect is told. LOCK is held to the end; see flows.crashes.
"""

import asyncio
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from flows.crashes import read_note, report_crash
from flows.dvc_process.client import END
from flows.dvc_process.session import Session
from flows.errors import describe

_GRACE = 20.0  # seconds a stage has to end after SIGTERM
_POLL = 0.05  # seconds


def serve(requests: "queue.Queue[str | None]", answers: IO[str], session: Session) -> None:
    """Answer requests until there are no more."""
    while (line := requests.get()) is not None:
        request = json.loads(line)
        try:
            answer = {"value": getattr(session, request.pop("command"))(**request)}
        except Exception as error:
            fault = describe(error)
            if fault.kind == "bug":
                traceback.print_exc()
            answer = {"fault": fault._asdict()}
        sys.stdout.flush()
        sys.stderr.flush()
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    for descriptor in (answers.fileno(), int(sys.argv[2])):
        os.set_inheritable(descriptor, False)
    requests: queue.Queue[str | None] = queue.Queue()
    session = Session()
    threading.Thread(target=_read, args=(requests, session), daemon=True).start()
    # Only the end of stdin ends this process. A handler that does nothing, since what is ignored here would be ignored
    # by the stages too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        serve(requests, answers, session)
    except BrokenPipeError:
        pass  # the flow died while it was being answered
    finally:
        _await_stage()
        _leave(session)
    # The flow waits for this end, and an interpreter takes a fifth of a second to take DVC apart.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _read(requests: "queue.Queue[str | None]", session: Session) -> None:
    for line in sys.stdin:
        if line.encode() == END:
            session.is_dismissed = True
            break
        requests.put(line)
    requests.put(None)
    # The main thread may be waiting for a stage. It and the stage are alone in this process group.
    os.killpg(0, signal.SIGTERM)
    time.sleep(_GRACE)
    _leave(session)
    os.killpg(0, signal.SIGKILL)


def _await_stage() -> None:
    """Wait for a stage, which may still be saving what it has: DVC waits for its shell, which SIGTERM ends at once."""
    end = time.monotonic() + _GRACE
    while _others_in_group() and time.monotonic() < end:
        time.sleep(_POLL)


def _others_in_group() -> bool:
    own = os.getpid()
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if process.pid != own and os.getpgid(process.pid) == own and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _leave(session: Session) -> None:
    """Delete the clone, and tell Prefect if the flow cannot do so any more."""
    if session.clone is None or session.record is None:
        return
    os.chdir("/")
    shutil.rmtree(session.clone, ignore_errors=True)
    if not session.is_dismissed and _tell_crash(session.record):
        session.record.unlink(missing_ok=True)


def _tell_crash(record: Path) -> bool:
    """Tell of a crash; says whether there is nothing more to be told; else the next run on this machine does it."""
    note = read_note(record)
    if not note:
        return True  # killed before Prefect knew of a run
    if "://" not in note["api"]:
        return False  # the temporary server has gone with the flow
    try:
        asyncio.run(report_crash(note["flow_run"]))
    except Exception:
        return False
    return True


if __name__ == "__main__":
    main()
