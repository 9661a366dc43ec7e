"""`make repair`, on what kills and bad disks leave behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.workspace import Workspace, damage, until

_REPAIR = (sys.executable, "-m", "lightline", "repair")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace.make(tmp_path_factory.mktemp("finished") / "workspace")
    assert workspace.run("dvc", "repro")[0] == 0
    workspace.git("add", "--all")
    workspace.git("commit", "--quiet", "--message", "run")
    return workspace


@pytest.fixture
def finished(template: Workspace, tmp_path: Path) -> Workspace:
    """A run that is committed, to be damaged."""
    return Workspace(shutil.copytree(template.path, tmp_path / "workspace", symlinks=True))


def repair(workspace: Workspace, **variables: str) -> str:
    status, told = workspace.run(*_REPAIR, **variables)
    assert status == 0, told
    return told


def test_where_nothing_is_damaged_nothing_is_done(finished: Workspace):
    assert repair(finished) == "Nothing to mend.\n"
    assert finished.git("status", "--porcelain") == ""


@pytest.mark.parametrize("content", ["", '{"write": {"', '{"write": {"rows": 1}}'])
def test_a_damaged_rwlock(finished: Workspace, content: str):
    rwlock = finished.path / ".dvc/tmp/rwlock"
    rwlock.write_text(content)
    assert finished.run("dvc", "repro")[0] != 0
    assert repair(finished) == ".dvc/tmp/rwlock was damaged, and has been removed.\n"
    assert finished.run("dvc", "repro")[0] == 0


def test_an_rwlock_of_a_recycled_pid(finished: Workspace):
    # This process is older than the file, and another one than the command in it.
    entry = {"pid": os.getpid(), "cmd": "/bin/dvc repro --force"}
    held = {"write": {str(finished.path / "rows"): entry}, "read": {}}
    (finished.path / ".dvc/tmp/rwlock").write_text(json.dumps(held))
    status, told = finished.run("dvc", "repro")
    assert status != 0
    assert f"(PID {os.getpid()})" in told
    assert f"gone or other ones by now ({os.getpid()})" in repair(finished)
    assert finished.run("dvc", "repro")[0] == 0


def test_nothing_is_touched_beside_a_run(workspace: Workspace):
    workspace.work("Path('runs').touch(); time.sleep(600)")
    workspace.start("dvc", "repro")
    until((workspace.path / "runs").exists, "the stage runs")
    file = workspace.path / ".dvc/tmp/rwlock"
    file.write_text("")
    status, told = workspace.run(*_REPAIR)
    assert status == 1
    assert "error: Stage 'train' of another run works in" in told
    assert file.exists()


def test_nothing_is_touched_beside_dvc(finished: Workspace):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "repro"])
    held = {"write": {str(finished.path / "rows"): {"pid": process.pid, "cmd": "dvc repro"}}, "read": {}}
    (finished.path / ".dvc/tmp/rwlock").write_text(json.dumps(held))
    status, told = finished.run(*_REPAIR)
    process.kill()
    process.wait()
    assert (status, told) == (
        1,
        f"error: DVC works here: process {process.pid}, `dvc repro`. Wait until it has ended.\n",
    )


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_damaged_dvc_lock(finished: Workspace, is_committed: bool):
    lock = finished.path / "dvc.lock"
    whole = lock.read_bytes()
    if not is_committed:
        finished.git("rm", "--quiet", "--cached", "dvc.lock")
        finished.git("commit", "--quiet", "--message", "none")
    for content in (b"", bytes(len(whole))) if is_committed else (whole[: whole.index(b"cmd") + 5],):
        lock.write_bytes(content)
        assert "dvc.lock was damaged" in repair(finished), content
        assert lock.exists() == is_committed
    status, told = finished.run("dvc", "repro")
    assert status == 0
    assert "Running stage 'train'" not in told, "all comes from the cache"
    assert lock.read_bytes() == whole


def test_an_output_that_was_restored_from_a_damaged_object(finished: Workspace):
    model = finished.path / "model"
    damage(finished.cached("model"))
    model.unlink()
    assert finished.run("dvc", "repro")[0] == 0
    assert model.read_bytes() == bytes(5), "DVC restores what is damaged"
    assert "model was damaged, and has been removed: `dvc repro` makes it again." in repair(finished)
    assert "Running stage 'train'" in finished.run("dvc", "repro")[1]
    assert model.read_text() == finished.cached("model").read_text() == "model"


def test_a_damaged_object_whose_output_is_whole(finished: Workspace):
    for path, file in (("model", "model"), ("images", "images/a")):
        cached = finished.cached(path)
        damage(cached)
        whole = (finished.path / file).read_bytes()
        assert f"{path} is whole here, and has been put back into the cache." in repair(finished)
        assert cached.read_bytes() not in (b"", bytes(len(whole)))
        assert (finished.path / file).read_bytes() == whole
    assert repair(finished) == "Nothing to mend.\n"


def test_from_the_remote(finished: Workspace):
    finished.run("dvc", "remote", "add", "--default", "store", "../store")
    finished.run("dvc", "push")
    damage(finished.cached("model"))
    (finished.path / "model").unlink()
    finished.run("dvc", "checkout")
    told = repair(finished)
    assert "has been fetched again from the remote" in told
    assert "model was damaged, and has been brought back from the cache." in told
    assert (finished.path / "model").read_text() == "model"


def test_what_a_person_has_changed_stays(finished: Workspace):
    (finished.path / "rows").write_text("mine")
    damage(finished.cached("rows"))
    repair(finished)
    assert (finished.path / "rows").read_text() == "mine"


@pytest.mark.parametrize("shell", ["/bin/false", "/nowhere"])
def test_a_shell_that_runs_nothing(finished: Workspace, shell: str):
    assert finished.run("dvc", "repro", SHELL=shell)[0] != 0
    assert f"{shell} runs nothing: `export SHELL=/bin/sh`" in repair(finished, SHELL=shell)


def test_parameters_of_an_experiment_that_was_killed(project):
    file = project.path / "params.yaml"
    file.write_text(file.read_text().replace("seed: 42", "seed: 43"))
    told = project.run(*_REPAIR).stdout
    assert "`make params` takes its changes back" in told
    assert "seed: 43" in file.read_text()


def test_a_head_that_a_killed_experiment_left_on_no_branch(finished: Workspace):
    branch = finished.git("branch", "--show-current").strip()
    (finished.path / ".gitignore").write_text("/.lightline\n/runs\n")
    finished.work("Path('runs').touch(); time.sleep(600)")
    process = finished.start("dvc", "exp", "run", "--force", "-S", "seed=7")
    until((finished.path / "runs").exists, "the stage runs")
    process.terminate()
    process.wait()
    until(lambda: "so does the stage" in finished.told(process), "the stage has ended")
    assert finished.git("branch", "--show-current") == "", "this is DVC's doing"
    told = repair(finished)
    assert f"since a `dvc exp run` was killed: `git checkout {branch}` goes back" in told
    assert "`git reset` then unstages" in told
    assert "stash" not in told
    finished.git("checkout", "--quiet", branch)
    assert "git checkout" not in repair(finished)
    assert "seed: 7" in (finished.path / "params.yaml").read_text()
    assert "time.sleep(600)" in (finished.path / "stages_here.py").read_text()

    finished.git("checkout", "--quiet", "--detach")  # a person's own
    assert "git checkout" not in repair(finished)
