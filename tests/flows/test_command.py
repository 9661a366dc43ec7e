"""`python -m flows.pipeline`, as `make run` calls it: on a machine where nothing is set up."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

_HELP = """
import sys, flows.__main__
try:
    flows.__main__.main(["--help"])
finally:
    print(sorted({"prefect", "dvc", "torch"} & set(sys.modules)))
"""


@pytest.fixture
def fresh_clone(finished_project, tmp_path):
    """A clone of a finished project that shares its cache, seen from an account that has never been used."""
    path = tmp_path / "clone"
    finished_project.run("git", "clone", "--quiet", ".", str(path))
    clone = type(finished_project)(path)
    clone.run("dvc", "cache", "dir", "--local", str(finished_project.path / ".dvc" / "cache"))
    return clone


@pytest.fixture
def no_account(tmp_path, monkeypatch):
    """An empty home and no name for git."""
    for name in ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL", "CONFIG_GLOBAL"):
        monkeypatch.delenv(f"GIT_{name}")
    monkeypatch.delenv("PREFECT_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()


@contextmanager
def _servers_seen() -> Iterator[set[str]]:
    """The addresses on which Prefect's temporary servers below this process listen meanwhile."""
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.3):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if "prefect.server" in " ".join(process.cmdline()):
                        listening = [one for one in process.net_connections() if one.status == psutil.CONN_LISTEN]
                        seen.update(one.laddr.ip for one in listening)

    thread = threading.Thread(target=look)
    thread.start()
    yield seen
    done.set()
    thread.join()


def test_needs_no_server_and_brings_the_results(fresh_clone, no_account):
    with _servers_seen() as addresses:
        done = fresh_clone.run(
            sys.executable, "-m", "flows.pipeline", "--apply", PREFECT_SERVER_API_HOST="0.0.0.0", check=False
        )
    assert done.returncode == 0, done.stderr
    assert addresses == {"127.0.0.1"}
    assert "nothing had changed: all from the cache" in done.stdout
    assert (fresh_clone.path / "models/model.onnx").stat().st_size > 100_000
    assert (fresh_clone.path / "reports/test/metrics.json").exists()
    assert fresh_clone.run("git", "status", "--porcelain").stdout == ""
    (name,) = fresh_clone.experiments()
    assert f"experiment  {name}" in done.stdout
    assert f"models/model.onnx (of experiment {name})" in done.stdout
    assert "test accuracy" in done.stdout
    for state in ("Error", "locked", "Traceback"):
        assert state not in done.stderr


def test_a_workspace_with_changes_is_left_alone(small_project, flow):
    (small_project.path / "raw.txt").write_text("changed")
    done = flow(small_project, "--apply")
    assert not (small_project.path / "models").exists()
    assert "The workspace is as it was" in done.stdout
    (name,) = small_project.experiments()
    assert f"dvc exp apply {name}" in done.stdout


def test_an_applied_experiment_gives_way_to_the_next(small_project, flow):
    for epochs in (7, 8):
        flow(small_project, "--apply", "-S", f"trainer.max_epochs={epochs}")
        assert f"max_epochs: {epochs}\n" in (small_project.path / "params.yaml").read_text()

    (small_project.path / "work.py").write_text("# mine")
    flow(small_project, "--apply")
    assert (small_project.path / "work.py").read_text() == "# mine"


def test_a_server_that_does_not_answer_is_named(small_project):
    done = small_project.run(
        sys.executable, "-m", "flows.pipeline", check=False, PREFECT_API_URL="http://127.0.0.1:9/api"
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "http://127.0.0.1:9/api" in done.stderr
    assert "prefect server start" in done.stderr


def test_help_loads_neither_prefect_nor_dvc_nor_torch(project):
    assert project.run(sys.executable, "-c", _HELP).stdout.endswith("[]\n")
