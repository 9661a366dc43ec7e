"""Clones of runs, who works in them, and what runs leave whose processes were killed: it is cleared at the next start.

Beside each clone lies a record, `NAME.run`, with the id of the flow run. The flow and its DVC process hold a lock on
it, which the kernel frees when the last of them has ended, however that was: no process's number can be mistaken.
"""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from lightline.runtime.locks import lock

_SUFFIX = ".run"
# The database of a sweep's temporary server, for its worker and its runs: the address is another the next time.
TEMPORARY = "LIGHTLINE_TEMPORARY_SERVER"
_MESSAGE = (
    "The processes of this run were killed, or the machine went down. Run the same again: what was finished comes from "
    "the cache, and unfinished training goes on."
)


class Claim:
    """A new folder for a clone, and the lock that says that someone works in it.

    Attributes:
        folder: not made yet.
        descriptor: to be inherited by a process that works in the folder too.
    """

    def __init__(self, home: Path):
        parent = _place(home)
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            self.descriptor, name = tempfile.mkstemp(suffix=_SUFFIX, dir=parent)
            lock(self.descriptor, wait=True)
            if Path(name).exists():  # else it was taken for a leftover before it was locked
                break
            os.close(self.descriptor)
        self.record = Path(name)
        self.folder = self.record.with_suffix("")

    def belongs_to(self, flow_run: str, api: str, project: str) -> None:
        """Write down whose folder it is; api: of the server that knows the run; project: of DVC, in the folder."""
        note = {"flow_run": flow_run, "api": api, "host": socket.gethostname(), "project": project}
        os.pwrite(self.descriptor, json.dumps(note).encode(), 0)

    def release(self) -> None:
        """Delete the folder and the record."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.record.unlink(missing_ok=True)
        os.close(self.descriptor)


@contextmanager
def claimed(home: Path, flow_run: str, project: str) -> Iterator[None]:
    """Have the next start know of a run that works in no clone of its own, should it be killed."""
    claim = Claim(home)
    try:
        claim.belongs_to(flow_run, api(), project)
        yield
    finally:
        claim.release()


def _place(home: Path) -> Path:
    return home / ".dvc" / "tmp" / "flows"


async def clear(homes: Iterable[Path], own: str | None = None) -> list[str]:
    """Delete the clones of dead runs of this machine, and have Prefect know that the runs have crashed.

    | a record that                                       | clone   | run in Prefect | record  |
    |-----------------------------------------------------|---------|----------------|---------|
    | is held, of another machine, or a stage still ends  | stays   | as it is       | stays   |
    | notes no run, or one that another process goes on   | deleted | as it is       | deleted |
    | notes a run of the server in use                    | deleted | crashed        | deleted |
    | notes a run of another server                       | deleted | as it is       | stays, for a run there |

    homes: where clones lie.
    own: the flow run that asks; Prefect may have started it again after its first process died.

    Returns the flow runs that have crashed.
    """
    records = [record for home in set(homes) for record in _place(home).glob(f"*{_SUFFIX}")]
    locked = {record: descriptor for record in records if (descriptor := _lock(record)) is not None}
    living = {own, None, *(read_note(record).get("flow_run") for record in records if record not in locked)}
    reported = []
    try:
        for record, descriptor in locked.items():
            note = read_note(record, descriptor)
            if not _may_go(record, note):
                continue
            shutil.rmtree(record.with_suffix(""), ignore_errors=True)
            flow_run: Any = note.get("flow_run")
            if flow_run in living:
                record.unlink(missing_ok=True)
            elif note["api"] == api():
                if await report_crash(flow_run):
                    reported.append(flow_run)
                record.unlink(missing_ok=True)
    finally:
        for descriptor in locked.values():
            os.close(descriptor)
    return reported


def _may_go(record: Path, note: dict[str, Any]) -> bool:
    """Tell whether the run of a record that nobody holds was of this machine, and has left no stage behind."""
    is_foreign = note.get("host", socket.gethostname()) != socket.gethostname()
    return not is_foreign and not _has_stage(record.with_suffix("") / note.get("project", ""))


def read_note(record: Path, descriptor: int | None = None) -> dict[str, Any]:
    """Read what `Claim.belongs_to` has written; empty before that."""
    with suppress(OSError, ValueError):
        return json.loads(record.read_bytes() if descriptor is None else os.pread(descriptor, 1 << 16, 0))
    return {}


def _lock(record: Path) -> int | None:
    """Lock a record that nobody holds, and return its descriptor; None where it is held or gone."""
    try:
        descriptor = os.open(record, os.O_RDWR)
    except FileNotFoundError:
        return None
    if lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _has_stage(folder: Path) -> bool:
    """Tell whether a stage, orphaned a moment ago, is still on its way out there; see lightline.runtime.supervision."""
    try:
        file: TextIO = (folder / ".lightline" / "stage.lock").open("a")
    except OSError:
        return False
    with file:
        return not lock(file)


def api() -> str:
    """Return the address of the server in use; for a temporary one, where its database lies."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME

    return str(os.environ.get(TEMPORARY) or PREFECT_API_URL.value() or PREFECT_HOME.value())


async def report_crash(flow_run: str) -> bool:
    """Have a run shown as crashed that Prefect believes to be running, and as cancelled one that it waits for so.

    Tells whether it has crashed.
    """
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Cancelled, Crashed

    async with get_client() as client:
        with suppress(ObjectNotFound):  # deleted meanwhile
            run = await client.read_flow_run(UUID(flow_run))
            if run.state is not None and run.state.is_running():
                await client.set_flow_run_state(run.id, Crashed(message=_MESSAGE))
                return True
            if run.state is not None and run.state.is_cancelling():
                await client.set_flow_run_state(run.id, Cancelled(message="Its processes are gone."), force=True)
    return False
