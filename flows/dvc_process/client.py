"""The flow's end of its one DVC process (flows/dvc_process/server.py): requests, answers, the output line by line."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.errors import Fault
from lightline.redaction import redacted

_CODE = Path(__file__).parents[2]
_PATIENCE = 25.0  # seconds; longer than flows.dvc_process.server gives a stage to end
_CHUNK = 1 << 16  # bytes
END = b"end\n"  # the last request; without it, the flow has died

Listener = Callable[[str], None]


# Variables by which git or DVC would take another repository for the one they stand in.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME")


def own_environment() -> dict[str, str]:
    """Return this process's environment for a program that works in another repository."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN}


def _environment() -> dict[str, str]:
    return {
        **own_environment(),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",  # lines are seen when they are printed
        "SHELL": "/bin/sh",  # DVC runs commands with it, and not every user's shell will do
    }


class DvcProcess:
    """A DVC process to be asked one thing after another.

    Attributes:
        last_lines: the last lines that the present request, or the one before it, printed.
    """

    def __init__(self, lock: int):
        """Start the process; lock: a descriptor that it shall hold as long as it lives."""
        answers, answers_there = os.pipe()
        output, output_there = os.pipe()
        try:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "flows.dvc_process.server", str(answers_there), str(lock)),
                cwd=_CODE,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=output_there,
                stderr=output_there,
                pass_fds=(answers_there, lock),
                start_new_session=True,  # it and its stages: one group, to be stopped together
            )
        finally:
            os.close(answers_there)
            os.close(output_there)
        os.set_blocking(output, False)
        os.set_blocking(answers, False)
        self._answers, self._output = answers, output
        self._answer, self._line = b"", b""
        self._pending: asyncio.Future[Any] | None = None
        self._listener: Listener = lambda line: None
        self.last_lines: deque[str] = deque(maxlen=20)

    async def call(self, command: str, listener: Listener | None = None, **arguments: Any) -> Any:
        """Have a method of `flows.dvc_process.server.Session` called; gives its result.

        listener: gets each line that is printed meanwhile.

        Raises:
            LightlineError: of the kind that fits; see `flows.errors`.
        """
        loop = asyncio.get_running_loop()
        self._listener = listener or self._listener
        self._pending = loop.create_future()
        self.last_lines.clear()
        loop.add_reader(self._output, self._take_output)
        loop.add_reader(self._answers, self._take_answer)
        try:
            self._send({"command": command, **arguments})
            answer = await self._pending
        finally:
            loop.remove_reader(self._output)
            loop.remove_reader(self._answers)
        if "fault" in answer:
            raise Fault(**answer["fault"]).error()
        return answer["value"]

    def dismiss(self) -> None:
        """Let it delete its clone and go, while this process does something else; `stop` then waits for it."""
        with suppress(BrokenPipeError, ValueError):  # it is dead, or dismissed already
            self._stdin.write(END)
            self._stdin.flush()
        with suppress(BrokenPipeError):
            self._stdin.close()

    async def stop(self) -> None:
        """End it, with the stage that may run in it; the stage has time to end well."""
        self.dismiss()
        try:
            await asyncio.to_thread(self._process.wait, _PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # whatever it left behind
            self._process.wait()
            self._finish_output()
            os.close(self._answers)
            os.close(self._output)

    @property
    def _stdin(self):
        assert self._process.stdin is not None
        return self._process.stdin

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._stdin.write(json.dumps(request).encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            self._lost()

    # Two pipes come from the process, read as the event loop finds something in them, until a line is whole: `_line`
    # is the begun line of what it prints, `_answer` that of its answer; `_pending` waits for the answer.

    def _take_output(self) -> bool:
        """Take one part, so that a stage which never stops printing leaves the event loop time for Ctrl-C."""
        chunk = self._read(self._output)
        *lines, self._line = (self._line + (chunk or b"")).split(b"\n")
        for line in lines:
            self._tell(line)
        return bool(chunk)

    def _take_answer(self) -> None:
        if chunk := self._read(self._answers):
            self._answer += chunk
            if self._answer.endswith(b"\n"):
                answer, self._answer = json.loads(self._answer), b""
                self._finish_output()
                self._settle(answer)
        elif chunk == b"":
            self._lost()

    def _lost(self) -> None:
        self._finish_output()
        status = self._process.wait()
        self._settle({"fault": Fault("stage", f"the DVC process has ended with status {status}")._asdict()})

    def _finish_output(self) -> None:
        """Pass on the rest of the output: what was printed before an answer is in the pipe by the time it is there."""
        while self._take_output():
            pass
        line, self._line = self._line, b""
        self._tell(line)

    def _settle(self, answer: dict[str, Any]) -> None:
        if self._pending is not None and not self._pending.done():
            self._pending.set_result(answer)

    def _tell(self, line: bytes) -> None:
        # A progress bar rewrites its line; what it said last stands.
        text = redacted(line.decode(errors="replace").rstrip().rpartition("\r")[2])
        if text:
            self.last_lines.append(text)
            self._listener(text)

    @staticmethod
    def _read(descriptor: int) -> bytes | None:
        """Read what is there; None for nothing yet, no bytes for nothing ever again."""
        try:
            return os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return None
