"""Two nodes on one machine, each in a clone of its own: through the doors, killed in the middle, and refused."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.support import ROOT
from tests.support.project import Project, copy_project
from tests.support.workspace import until

_QUIET = {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
_OVERRIDES = ("hardware=multi_node", "hardware.accelerator=cpu", "hardware.devices=1", "hardware.master_addr=127.0.0.1")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command in a folder, its output in a file; what is left is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(folder: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **_QUIET, "PYTHONUNBUFFERED": "1", **variables}
        with (tmp_path / f"log-{len(started)}").open("w") as log:
            pipes: Any = {"stdout": log, "stderr": subprocess.STDOUT, "text": True}
            started.append(subprocess.Popen(command, cwd=folder, env=environment, **pipes))
        return started[-1]

    yield begin
    for process in started:
        for each in _with_children(process.pid):
            each.kill()
        process.wait()


def _with_children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return []


def _said(tmp_path: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(tmp_path.glob("log-*")))


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[Project, Project]:
    """A project, and a clone of it with the same data."""
    first = copy_project(tmp_path / "first")
    first.set_conf("trainer/default", max_epochs=3)
    first.set_conf("checkpoint/default", every_n_train_steps=3, train_time_interval="null")
    first.commit("three epochs")
    first.run("dvc", "repro", "split", **_QUIET)
    first.run("cp", "-r", str(first.path), str(tmp_path / "second"))
    return first, Project(tmp_path / "second")


def _settings(port: int) -> list[str]:
    settings = (*_OVERRIDES, f"hardware.master_port={port}")
    return [word for setting in settings for word in ("-S", setting)]


def _join(port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "lightline", "join", f"127.0.0.1:{port}")


@pytest.mark.timeout(900)
def test_two_nodes_through_the_doors_and_one_killed_in_the_middle(nodes, start: Start, free_port, tmp_path: Path):
    first, second = nodes
    flow = (sys.executable, "-m", "flows.pipeline", "-n", "killed", *_settings(free_port), "train")
    broken, joined = start(first.path, *flow), start(second.path, *_join(free_port))
    until(lambda: "epoch 1/3" in _said(tmp_path), "an epoch is over")
    for each in _with_children(joined.pid):
        each.kill()
    assert broken.wait(400) == 1
    told = " ".join(_said(tmp_path).split())
    assert re.search(r"Node 1 \(\S+\) has ended or cannot be reached\. What was saved last stays", told), told
    again, joined = start(first.path, *flow), start(second.path, *_join(free_port))
    assert (again.wait(400), joined.wait(120)) == (0, 0), _said(tmp_path)
    assert "going on with the unfinished training" in _said(tmp_path)
    assert second.run("git", "status", "--porcelain").stdout == ""
    assert not (second.path / "models").exists()

    # Through `dvc exp run`, in one go, with nothing left of the other.
    first.run("rm", "-rf", ".dvc/cache/runs", ".lightline/training")
    whole = start(first.path, "dvc", "exp", "run", "--temp", "-n", "whole", *_settings(free_port), "train")
    joined = start(second.path, *_join(free_port))
    assert (whole.wait(400), joined.wait(120)) == (0, 0), _said(tmp_path)
    assert _best(first, "killed") == _best(first, "whole")


def _best(project: Project, experiment: str) -> str:
    lock = yaml.safe_load(project.run("git", "show", f"{_ref(project, experiment)}:dvc.lock").stdout)
    (out,) = (out for out in lock["stages"]["train"]["outs"] if out["path"].endswith("best.ckpt"))
    return out["md5"]


def _ref(project: Project, experiment: str) -> str:
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    (ref,) = (ref for ref in refs if ref.endswith(f"/{experiment}"))
    return ref


@pytest.mark.timeout(900)
def test_a_node_with_other_data_is_refused_by_name_and_one_alone_does_not_wait_for_ever(
    nodes, start: Start, free_port, tmp_path: Path
):
    first, second = nodes
    second.set_conf("config", seed=7)
    second.run("dvc", "repro", "split", **_QUIET)
    train = (sys.executable, "-m", "stages.train")
    first.run("dvc", "exp", "run", *_settings(free_port), "split", **_QUIET)
    here, joined = start(first.path, *train), start(second.path, *_join(free_port))
    assert (here.wait(240), joined.wait(120)) == (1, 1), _said(tmp_path)
    told = _said(tmp_path)
    assert len(re.findall(r"error: Node 1 \(\S+\) would train something else than node 0 \(\S+\)", told)) == 2, told
    assert "they differ in splits." in told

    first.run("dvc", "exp", "run", *_settings(free_port), "-S", "hardware.rendezvous_timeout=1", "split", **_QUIET)
    done = first.run(*train, check=False, **_QUIET)
    assert done.returncode == 1
    assert "error: 1 of the 2 machines or processes that train together did not come to 127.0.0.1" in done.stderr
    done = second.run(*_join(free_port), "--timeout", "1", check=False)
    assert f"error: Nobody answered at 127.0.0.1:{free_port} for 1 s" in done.stderr


_TRAIN = """
import sys
from pathlib import Path
from stages.train.fit import fit, write_outputs
from stages.train.nodes import find_group
from stages.train.trainer import build_trainer
from lightline.runtime.ranks import is_first_process
from lightline.runtime.tracking import Run
from tests.support.tiny import tiny_params, tiny_task

params = tiny_params(**SETTINGS)
group, trainer = find_group(params), build_trainer(params)
task = tiny_task(params)
state = group.agree({}, Path("state"))
with group.watched():
    fitted = fit(task, trainer, Path("state"), state, Run())
if is_first_process():
    write_outputs(task, fitted)
"""


def _write(folder: Path, settings: dict[str, Any]) -> Path:
    (folder / "state").mkdir(parents=True)
    (folder / "run.py").write_text(_TRAIN.replace("SETTINGS", repr(settings)))
    return folder


def _launch(start: Start, folder: Path, node: int, port: int) -> subprocess.Popen[str]:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1")
    where = (f"--node-rank={node}", "--master-addr=127.0.0.1", f"--master-port={port}")
    return start(folder, *torchrun, *where, "run.py", PYTHONPATH=str(ROOT))


@pytest.mark.timeout(900)
def test_two_processes_with_half_the_batch_learn_as_one_does(start: Start, free_port, tmp_path: Path):
    """By torchrun, with batch normalisation over both, in float32."""
    common = {"trainer__precision": "32-true", "trainer__sync_batchnorm": True, "trainer__max_epochs": 6}
    common |= {"trainer__drop_last": True}  # of 63 images two processes leave one out
    several = {"hardware__num_nodes": 2, "hardware__strategy": "ddp", "trainer__batch_size": 16}
    folders = [_write(tmp_path / str(node), common | several) for node in range(2)]
    alone = _write(tmp_path / "alone", common | {"trainer__batch_size": 32})
    processes = [_launch(start, folder, node, free_port) for node, folder in enumerate(folders)]
    processes.append(start(alone, sys.executable, "run.py", PYTHONPATH=str(ROOT)))
    assert [process.wait(400) for process in processes] == [0, 0, 0], _said(tmp_path)
    assert not (tmp_path / "1/models").exists()
    (one, two) = (_losses(tmp_path / name) for name in ("alone", "0"))
    assert two == pytest.approx(one, rel=1e-5)


def _losses(folder: Path) -> list[float]:
    header, *rows = (line.split(",") for line in (folder / "reports/train/history.csv").read_text().splitlines())
    return [float(row[header.index(name)]) for row in rows for name in ("train_loss", "val_loss")]


@pytest.mark.timeout(900)
def test_a_node_that_falls_silent_ends_the_other(start: Start, free_port, tmp_path: Path):
    settings = {"hardware__num_nodes": 2, "hardware__strategy": "ddp", "trainer__max_epochs": 10_000}
    folders = [_write(tmp_path / str(node), settings | {"trainer__early_stopping_patience": None}) for node in range(2)]
    processes = [_launch(start, folder, node, free_port) for node, folder in enumerate(folders)]
    until(lambda: "epoch 3/" in _said(tmp_path), "they train")
    frozen = _with_children(processes[1].pid)
    for each in frozen:
        each.send_signal(signal.SIGSTOP)
    # gloo by itself would wait for half an hour.
    until(lambda: "has ended or cannot be reached" in _said(tmp_path), "the first notices")
    assert processes[0].wait(240) != 0
