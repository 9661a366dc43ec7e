"""`make params` leaves a workspace alone in which a run goes on; `make lint` looks at what would be committed."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support import ROOT


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """tools/params.py in a folder with what it needs."""
    for folder in ("lightline", "lightline_predict", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return shutil.copy(ROOT / "tools" / "params.py", tmp_path / "tools")


def test_what_would_be_committed_is_checked(script: Path, tmp_path: Path):
    params, conf = tmp_path / "params.yaml", tmp_path / "conf" / "trainer" / "default.yaml"

    def check() -> tuple[int, str]:
        done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def git(*arguments: str) -> None:
        subprocess.run(("git", *arguments), cwd=tmp_path, check=True)

    right = params.read_text()
    params.write_text(right.replace("seed: 42", "seed: 43"))
    assert check()[0] == 1  # without git, what is there counts
    params.write_text(right)
    git("init", "--quiet")
    git("add", "conf", "params.yaml")
    assert check() == (0, "")

    params.write_text(right.replace("seed: 42", "seed: 43"))  # as `dvc exp run -S seed=43` leaves it
    status, told = check()
    assert status == 0
    assert "They are not staged." in told
    git("add", "params.yaml")
    status, told = check()
    assert status == 1
    assert "params.yaml, as it is committed or staged, is not what conf/ composes to" in told
    assert "`make keep`" in told

    params.write_text(right)
    git("add", "params.yaml")
    conf.write_text(conf.read_text().replace("max_epochs: 15", "max_epochs: 16"))
    status, told = check()
    assert status == 1
    assert "conf/ has been edited: params.yaml is not" in told
    subprocess.run([sys.executable, script], check=True)
    assert check() == (0, "")


def test_parameters_of_a_run_that_goes_on_stay(script: Path, tmp_path: Path):
    params = tmp_path / "params.yaml"
    params.write_text("of the run\n")
    (tmp_path / ".lightline").mkdir()
    with (tmp_path / ".lightline" / "stage.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        json.dump({"stage": "train", "pid": os.getpid(), "since": psutil.Process().create_time(), "dvc": None}, lock)
        lock.flush()
        refused = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: Stage 'train' of another run works in ")
    assert params.read_text() == "of the run\n"
    subprocess.run([sys.executable, script], check=True)
    assert params.read_text() == (ROOT / "params.yaml").read_text()
