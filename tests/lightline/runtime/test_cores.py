"""The cores of a machine, and who else trains on it: real processes, killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lightline.runtime import cores
from lightline.runtime.cores import counted_training, num_cores, num_trainings
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


LIMITS = [({"": "max"}, 8), ({"a": "150000", "a/b": "max"}, 2), ({"a/b": "1"}, 1)]


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
@pytest.mark.parametrize(("limits", "expected"), LIMITS)
def test_a_containers_limit_counts(tmp_path, monkeypatch, limits, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "membership").write_text("1:cpu:/old\n0::/a/b\n")
    for group, quota in limits.items():
        (tmp_path / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / group / "cpu.max").write_text(f"{quota} 100000\n")
    monkeypatch.setattr(cores, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(cores, "_CGROUP", tmp_path)
    assert num_cores() == expected
