"""A process that is asked to stop saves its state; two of the same training take turns; states that nobody needs go."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightline.models.checkpoint import BEST
from lightline.runtime.training_folder import forget, training_folder
from stages.train.fit import REPORTS
from stages.train.state_files import newest_state
from tests.support.tiny import ROOT, tiny_params

pytestmark = pytest.mark.usefixtures("own_folder")
FOLDER = Path(".lightline/training") / ("f" * 64)


def _start(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


TRAIN = """
from lightline.runtime.stage import run_stage
from tests.support.tiny import tiny_params, train
run_stage(lambda params: train(tiny_params(trainer__max_epochs={epochs}, checkpoint__train_time_interval=None)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_its_state_first(number, steps):
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    with _start(TRAIN.format(epochs=5000)) as process:
        lines = iter(process.stdout or ())
        assert any(line.startswith("epoch 2/") for line in lines)
        process.send_signal(number)
        rest = "".join(lines)
    assert process.returncode == 130
    assert "stopping after this step, with its state saved" in rest
    assert ("Ctrl-C" in rest) == (number == signal.SIGINT)
    state = newest_state(FOLDER)
    assert state is not None
    steps.stopped(tiny_params(trainer__max_epochs=5000), at=(done := int(state.stem.removeprefix("step-"))) + 1)
    assert steps.taken == [done]


def test_a_second_process_of_the_same_training_waits_and_trains_nothing(steps):
    hold = """
import os, sys
from lightline.runtime.training_folder import training_folder
from tests.support.tiny import *
params = tiny_params()
task = tiny_task(params)
with training_folder(task.fingerprint, {}) as folder:
    print("held", os.getpid(), flush=True)
    sys.stdin.readline()
    fit(task, build_trainer(task.params), folder, None, Run())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with (
        subprocess.Popen([sys.executable, "-c", hold], **pipes) as first,
        subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.readline()\n" + TRAIN_TWO], **pipes) as second,
    ):
        assert first.stdout
        assert second.stdout
        assert second.stdin
        held, pid = first.stdout.readline().split()
        assert held == "held"
        second.stdin.write("\n")
        second.stdin.flush()
        assert f"under way in process {pid}: waiting" in second.stdout.readline()
        assert not BEST.exists()
        first.communicate("\n")
        told = second.communicate()[0]
    assert (first.returncode, second.returncode) == (0, 0)
    assert "finished already" in told
    assert "epoch" not in told
    assert BEST.exists()
    assert json.loads((REPORTS / "metrics.json").read_text())["epochs"] == 2


TRAIN_TWO = """
from tests.support.tiny import tiny_params, train
train(tiny_params())
"""


def test_what_ended_before_it_saved_a_state_leaves_no_folder():
    with training_folder("a" * 64, {}) as folder:
        assert folder.exists()
    assert not folder.exists()


def test_the_state_goes_when_its_results_are_safe_but_not_while_it_is_used():
    with training_folder("a" * 64, {}) as held:
        (held / "finished.ckpt").touch()
        forget("a" * 64)
        assert held.exists()
    assert held.exists()
    forget("a" * 64)
    assert list(held.parent.iterdir()) == []
    forget("a" * 64)
