"""Sweeps on a real server with a real worker, of a project whose training takes as long as a test says."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.git import find_origin
from flows.sweep.check import check
from flows.sweep.study import Plan, Study, journal, only_writer
from lightline.errors import LightlineError
from tests.support.prefect_server import Server
from tests.support.workspace import kill_all, until

_WORK = """
import json, os, pathlib, sys, time
import yaml

stage = sys.argv[1]
reports = pathlib.Path("reports", stage)
reports.mkdir(parents=True, exist_ok=True)
trainer = yaml.safe_load(open("params.yaml"))["trainer"]
metrics = {"epochs": trainer["max_epochs"]}
if stage == "train":
    size, kept = trainer["batch_size"], pathlib.Path(os.environ["KEPT"], str(trainer["batch_size"]))
    with open(os.environ["KEPT"] + "/begun", "a") as file:
        print(size, os.environ.get("WANDB_RUN_GROUP"), file=file)
    if size == 13:
        sys.exit("error: 13 is no number")
    rows = json.loads(kept.read_text()) if kept.exists() else []
    while len(rows) < trainer["max_epochs"]:
        rows.append({"epoch": len(rows) + 1, "val_loss": (size > 50) + 1 / (len(rows) + 1)})
        kept.write_text(json.dumps(rows))
        pathlib.Path(".lightline").mkdir(exist_ok=True)
        pathlib.Path(".lightline/history.json").write_text(json.dumps(rows))
        while size > 50 and len(rows) == 1 and not os.path.exists(os.environ["KEPT"] + "/go"):
            time.sleep(0.1)
    pathlib.Path("models").mkdir(exist_ok=True)
    pathlib.Path("models/model.onnx").write_text("model")
    metrics["val_loss"] = rows[-1]["val_loss"]
(reports / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.fixture
def sweep(small_project, deployed, server: Server, start_worker: Callable[..., psutil.Popen], tmp_path: Path):
    """Run `python -m flows.sweep` in a project whose deployments a worker serves; gives what starts it."""
    (small_project.path / "work.py").write_text(_WORK)
    small_project.commit("a sweep's work")
    kept = tmp_path / "kept"
    kept.mkdir()
    variables = {"PREFECT_API_URL": server.url, "KEPT": str(kept)}
    start_worker(**variables)

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = (sys.executable, "-m", "flows.sweep", *arguments)
        environment = {**os.environ, **variables}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=small_project.path, env=environment, text=True, **pipes)

    return run


def _begun(tmp_path: Path) -> list[str]:
    file = tmp_path / "kept" / "begun"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.timeout(900)
def test_a_sweep_prunes_survives_its_controllers_death_and_goes_on_with_what_was_pruned(
    sweep, small_project, server: Server, tmp_path: Path
):
    arguments = (
        "run", "s", "-S", "trainer.batch_size=choice(8,13,16,64)", "-S", "trainer.max_epochs=3",
        "-S", "sweep=median", "-S", "sweep.n_startup_trials=1", "--parallel", "2",
    )  # fmt: skip
    first = sweep(*arguments)
    until(lambda: "64 s" in _begun(tmp_path), "the slow one trains")
    kill_all([psutil.Process(first.pid)])
    first.communicate()
    again = sweep(*arguments)
    out, _ = again.communicate(timeout=400)
    assert again.returncode == 0, out
    assert "is the best: val_loss 0.3333" in out
    assert "13 is no number" in small_project.run(sys.executable, "-m", "flows.sweep", "show", "s").stdout
    assert sorted(_begun(tmp_path)) == ["13 s", "16 s", "64 s", "8 s"], "each has run once, the best from the cache"
    assert small_project.experiments() == {"s-best", *(f"s-{number:03d}" for number in _numbers(small_project, 8, 16))}
    states = {row["parameters"]["experiment"]: row["state_type"] for row in _runs(server)}
    assert sorted(states.values()) == ["CANCELLED", "COMPLETED", "COMPLETED", "COMPLETED", "FAILED"]
    identity = Study.open(journal(small_project.path, "s"), "s").plan.identity
    assert all(f"sweep:{identity}" in run["tags"] for run in _runs(server))
    assert {run["parameters"]["repo"] for run in _runs(server)} == {str(small_project.path)}
    page = (small_project.path / "reports/sweeps/s.html").read_text()
    assert "2 complete" in page
    assert "1 pruned" in page

    (tmp_path / "kept/go").touch()
    out, _ = sweep(*arguments, "--continue-pruned").communicate(timeout=400)
    assert "val_loss 1.3333" in out, out
    kept = json.loads((tmp_path / "kept/64").read_text())
    assert [row["epoch"] for row in kept] == [1, 2, 3]
    (told,) = sweep("best", "s").communicate(timeout=400)[:1]
    assert re.search("python -m flows.pipeline -S trainer.max_epochs=3 -S trainer.batch_size=(8|16)", told)


def _runs(server: Server) -> list[dict]:
    return [run for run in server.flow_runs() if any(tag == "sweep:s" for tag in run["tags"])]


def _numbers(project, *sizes: int) -> list[int]:
    """The trials' numbers by the batch sizes that they had."""
    shown = project.run(sys.executable, "-m", "flows.sweep", "show", "s").stdout
    rows = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines() if line.startswith("│")]
    return [int(row[1]) for row in rows if row[5] in map(str, sizes)]


@pytest.mark.timeout(900)
def test_the_same_error_three_times_ends_a_sweep(sweep, tmp_path: Path):
    same = ("-S", "trainer.batch_size=13", "-S", "trainer.max_epochs=range(1,9)")
    out, _ = sweep("run", "e", *same).communicate(timeout=400)
    assert "3 trials in a row ended with the same error" in out
    assert len(_begun(tmp_path)) == 3


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["hardware.num_threads=1,2"], "nothing up to training reads the section 'hardware'"),
        (["sweep.seed=1,2"], "nothing up to training reads the section 'sweep'"),
        (["trainer.batch_size=1,two"], "trainer.batch_size = 'two' is not allowed; it must be a whole number"),
        (["trainer.batch_sise=1,2"], "did you mean trainer.batch_size?"),
        (["loss.label_smoothing=0,0.1"], "loss cannot be searched by val_loss, which is that very loss"),
        (["split.val=0.1,0.2"], "split cannot be searched: the trials would have other val images"),
        (["seed=1,2"], "seed cannot be searched: the trials would have other val images"),
        (["trainer.monitor=val_loss,val_accuracy"], "trainer.monitor cannot be searched"),
        (["trainer.batch_size=interval(16,64)"], "must be a whole number"),
        (["trainer.batch_size=1,2"], "There is a sweep 's' already, of 'trainer.batch_size=1,2,3'."),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_trial(finished_small_sweep, overrides, told):
    repo = str(finished_small_sweep.path)
    with pytest.raises(LightlineError) as error:
        asyncio.run(check(find_origin(repo), "s" if "already" in told else "t", overrides, repo))
    assert told in " ".join(str(error.value).split())


def test_a_wrong_space_is_refused_before_a_server_is_started(finished_small_sweep):
    command = (sys.executable, "-m", "flows.sweep", "run", "t", "-S", "trainer.batch_sise=1,2")
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(
        command, cwd=finished_small_sweep.path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: 'trainer.batch_sise=1' cannot be used")
    assert "temporary server" not in done.stderr


@pytest.fixture
def finished_small_sweep(small_project):
    stages = small_project.path / "dvc.yaml"
    stages.write_text(stages.read_text().replace("params: [trainer]", "params: [seed, trainer, loss, split]"))
    with only_writer(small_project.path, "s"):
        plan = Plan(["trainer.batch_size=1,2,3"], small_project.commit("sweep"), "val_loss")
        Study.create(journal(small_project.path, "s"), "s", plan)
    return small_project


def test_a_server_that_does_not_answer_is_told(finished_small_sweep, free_port):
    words = ("run", "t", "-S", "trainer.batch_size=1,2")
    url = f"http://127.0.0.1:{free_port}/api"
    done = finished_small_sweep.run(sys.executable, "-m", "flows.sweep", *words, check=False, PREFECT_API_URL=url)
    assert done.returncode == 1
    assert f"error: The Prefect server at {url}/ does not answer. Start it with `prefect server start`" in done.stderr
    assert "Traceback" not in done.stderr
