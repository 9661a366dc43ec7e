"""`make params` keeps its hands off a workspace in which a run goes on."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def test_parameters_of_a_run_that_goes_on_stay(tmp_path: Path):
    for folder in ("lightline", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "tools").mkdir()
    script = shutil.copy(ROOT / "tools" / "params.py", tmp_path / "tools")
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
