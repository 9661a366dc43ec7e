"""A stage dies with its DVC process, and no other run works beside it: real processes, killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.workspace import Workspace, lives, until

_HANG = """
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path("pids").write_text(f"{os.getpid()} {child.pid} .")
    try:
        while True: time.sleep(0.05)
    finally:
        WHEN_ENDING
"""


def _pids(workspace: Workspace) -> list[int]:
    """Of the train stage, and of a process that it has started."""
    file = workspace.path / "pids"
    until(lambda: file.exists() and file.read_text().endswith("."), "the stage runs")
    return [int(pid) for pid in file.read_text().split()[:2]]


# Given to DVC as $SHELL: some replace themselves by the command (bash), some stay between it and DVC (old dash, fish).
SHELLS = {"replaced": "#!/bin/sh\nexec $2\n", "between": '#!/bin/sh\n/bin/sh "$@"\nexit $?\n'}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_stage_and_its_children_end_with_their_dvc(workspace: Workspace, tmp_path: Path, shell: str):
    script = tmp_path / "shell"
    script.write_text(SHELLS[shell])
    script.chmod(0o755)
    workspace.work(_HANG.replace("WHEN_ENDING", "child.kill(); Path('ended').touch()"))
    dvc = workspace.start("dvc", "repro", SHELL=str(script))
    stage, child = _pids(workspace)
    assert (psutil.Process(stage).ppid() == dvc.pid) == (shell == "replaced")
    dvc.send_signal(signal.SIGKILL)
    until(lambda: not lives(stage) and not lives(child), "stage and child have ended")
    assert (workspace.path / "ended").exists(), "it was asked to before it was made to"
    assert not (workspace.path / "model").exists()
    assert f"process {dvc.pid}, which ran this stage, has ended" in workspace.told(dvc)


def test_a_stage_that_does_not_end_when_asked_is_made_to(workspace: Workspace):
    code = "supervision.GRACE = 0.5\n" + _HANG.replace("WHEN_ENDING", "time.sleep(600)")
    workspace.work(code)
    dvc = workspace.start("dvc", "repro")
    stage, child = _pids(workspace)
    dvc.kill()
    until(lambda: not lives(stage) and not lives(child), "stage and child have ended")


def test_a_stage_whose_dvc_has_died_before_it_began_does_nothing(workspace: Workspace):
    workspace.work("pass")
    dead = subprocess.Popen(["true"])
    dead.wait()
    rwlock = {"write": {str(workspace.path / "model"): {"pid": dead.pid, "cmd": "dvc repro"}}, "read": {}}
    (workspace.path / ".dvc/tmp").mkdir(exist_ok=True)
    (workspace.path / ".dvc/tmp/rwlock").write_text(json.dumps(rwlock))
    status, told = workspace.run(sys.executable, "-m", "stages_here", "train", DVC_STAGE="train")
    assert status == 75
    assert "error: The DVC process that started this stage has ended" in told
    assert not (workspace.path / "model").exists()


def test_a_rank_of_a_distributed_run_ends_with_the_first_one(workspace: Workspace):
    rank = 'subprocess.Popen([sys.executable, "-m", "stages_here", "train"], env={**os.environ, "LOCAL_RANK": "1"})'
    workspace.work(
        f"""
    first = "LOCAL_RANK" not in os.environ
    Path("first" if first else "second").write_text(f"{{os.getpid()}}.")
    if first: {rank}
    time.sleep(600)
"""
    )
    workspace.start(sys.executable, "-m", "stages_here", "train")
    files = [workspace.path / name for name in ("first", "second")]
    until(lambda: all(file.exists() and file.read_text().endswith(".") for file in files), "both run")
    first, second = (int(file.read_text()[:-1]) for file in files)
    os.kill(first, signal.SIGKILL)
    until(lambda: not lives(second), "the second has ended")


def test_a_second_run_is_refused_and_told_the_process(workspace: Workspace):
    workspace.work(_HANG.replace("WHEN_ENDING", "child.kill()"))
    dvc = workspace.start("dvc", "repro")
    stage, _ = _pids(workspace)
    status, told = workspace.run("dvc", "repro")
    assert status != 0
    assert f"Stage 'train' of another run works in {workspace.path}: process {stage}, since " in told
    assert f"`kill {dvc.pid}`" in told
    assert "Traceback" not in told
    by_hand = workspace.run(sys.executable, "-m", "stages_here", "train")
    assert by_hand[0] == 75
    assert lives(stage)
    assert lives(dvc.pid)


def test_a_second_run_waits_for_a_stage_that_is_on_its_way_out(workspace: Workspace):
    # An orphan writes its output last of all: nothing of it may lie there when the second run is done.
    ending = "time.sleep(3); child.kill(); Path('model').write_text('of the orphan')"
    workspace.work(_HANG.replace("WHEN_ENDING", ending))
    dvc = workspace.start("dvc", "repro")
    stage, _ = _pids(workspace)
    workspace.work("pass")
    dvc.kill()
    dvc.wait()
    status, told = workspace.run("dvc", "repro")
    assert status == 0, told
    assert not lives(stage)
    assert (workspace.path / "model").read_text() == "model"
    assert "train" not in workspace.run("dvc", "status")[1]


def test_a_recycled_pid_holds_nothing(workspace: Workspace):
    workspace.work("pass")
    (workspace.path / ".lightline").mkdir()
    holder = {"stage": "train", "pid": os.getpid(), "since": 1.0, "dvc": None}
    (workspace.path / ".lightline/stage.lock").write_text(json.dumps(holder))
    status, told = workspace.run("dvc", "repro")
    assert status == 0, told
    assert yaml.safe_load((workspace.path / "dvc.lock").read_text())["stages"]["train"]
