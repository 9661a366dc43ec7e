"""The processes of a run that is cancelled, interrupted or killed: they have time to end well, and nothing is left."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

import flows.__main__ as command
from flows.errors import StageError
from tests.support.flow_workspace import reproduce_all, use
from tests.support.workspace import lives, until

_STARTED = "pathlib.Path(os.environ['LIGHTLINE_ORIGIN'], 'pid.log').write_text(str(os.getpid()))"
_WAIT = f"{_STARTED}\ntime.sleep(600)"
_CHAT = f"""
{_STARTED}
while True:
    print(*["a line"] * 10, sep="\\n", flush=True)
    time.sleep(0.02)
"""
_TELL_SIGTERM = f"""
import signal
def end(*_):
    pathlib.Path(os.environ['LIGHTLINE_ORIGIN'], 'ended.log').touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
{_WAIT}
"""
_SLOW_TO_END = _TELL_SIGTERM.replace("    pathlib", "    time.sleep(2)\n    pathlib")


def test_a_stage_is_asked_to_end_when_the_run_is_cancelled(small_project, set_work):
    set_work(small_project, _TELL_SIGTERM)

    async def steps(workspace, lines):
        running = asyncio.create_task(reproduce_all(workspace, lines))
        await asyncio.to_thread(_pid, small_project)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    use(small_project, steps)
    assert (small_project.path / "ended.log").exists()
    _assert_nothing_left(small_project)


def test_the_dvc_process_dies(small_project, set_work):
    set_work(small_project, _WAIT)

    async def steps(workspace, lines):
        running = asyncio.create_task(reproduce_all(workspace, lines))
        await asyncio.to_thread(_pid, small_project)
        os.kill(workspace.dvc._process.pid, signal.SIGKILL)
        with pytest.raises(StageError, match="has ended with status -9"):
            await running

    use(small_project, steps)
    _assert_nothing_left(small_project)


@pytest.mark.parametrize(
    ("number", "train"),
    [(signal.SIGKILL, _WAIT), (signal.SIGTERM, _WAIT), (signal.SIGTERM, _CHAT), (signal.SIGINT, _WAIT)],
    ids=["SIGKILL", "SIGTERM", "SIGTERM while it reads", "SIGINT"],
)
def test_the_flow_dies(small_project, set_work, flow, server, number, train):
    set_work(small_project, train)
    process = subprocess.Popen(
        (sys.executable, "-m", "flows.pipeline"),
        cwd=small_project.path,
        env={**os.environ, "PREFECT_API_URL": server.url},
        stderr=subprocess.PIPE,
        text=True,
    )
    _pid(small_project)
    process.send_signal(number)
    _, told = process.communicate(timeout=180)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert "Traceback" not in told
    assert number == signal.SIGKILL or told.endswith("\ninterrupted; what was finished is in the cache\n")
    _assert_nothing_left(small_project)
    assert server.flow_runs()[0]["state_type"] == "CRASHED"


def test_ctrl_c_leaves_a_stage_the_time_to_save_what_it_has(small_project, set_work, flow):
    set_work(small_project, _SLOW_TO_END)
    process = subprocess.Popen((sys.executable, "-m", "flows.pipeline"), cwd=small_project.path)
    _pid(small_project)
    process.send_signal(signal.SIGINT)
    assert process.wait(180) == 130
    assert (small_project.path / "ended.log").exists()


def test_sigterm_is_taken_as_before_once_the_flow_has_ended(monkeypatch: pytest.MonkeyPatch):
    async def run(*_):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)  # as the flow does
        return None, "failed"

    monkeypatch.setattr(command, "_run", run)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert command._run_to_the_end(*[None] * 3) == (None, "failed")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def _pid(project) -> int:
    """The train stage's process, once it runs."""
    file = project.path / "pid.log"
    until(lambda: file.exists() and file.read_text(), "the stage has started")
    return int(file.read_text())


def _assert_nothing_left(project) -> None:
    pid, clones = _pid(project), project.path / ".dvc/tmp/flows"
    until(lambda: not lives(pid) and not list(clones.iterdir()), "stage and clone are gone")
