"""Who else trains on a machine: real processes, killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lightline.runtime.cores import counted_training, num_trainings
from tests.support import ROOT

TRAINING = """
import sys
from lightline.runtime.cores import counted_training
with counted_training():
    print("counted", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One on which nobody trains."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def start_training(**variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", TRAINING], env=environment, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout
    assert process.stdout.readline() == "counted\n"
    return process


def test_trainings_are_counted_as_long_as_they_live(tmp_path):
    assert num_trainings() == 0
    first, second, rank = start_training(), start_training(), start_training(LOCAL_RANK="1")
    assert num_trainings() == 2
    with counted_training():
        assert num_trainings() == 3
    with first:
        first.kill()
    assert num_trainings() == 1
    with counted_training():  # takes the place that is free
        assert num_trainings() == 2
    for process in (second, rank):
        process.communicate("\n")
        assert process.returncode == 0
    assert num_trainings() == 0
    assert sorted(path.name for path in (tmp_path / "lightline-trainings").iterdir()) == ["0.lock", "1.lock", "2.lock"]


def test_where_the_system_gives_no_lock_training_goes_on_uncounted(tmp_path):
    (tmp_path / "lightline-trainings").write_text("of someone else")
    with counted_training():
        assert num_trainings() == 0


def test_another_users_files_will_do(tmp_path):
    folder = tmp_path / "lightline-trainings"
    folder.mkdir()
    (folder / "0.lock").touch(mode=0o444)
    folder.chmod(0o555)
    with counted_training():
        assert num_trainings() == 1
