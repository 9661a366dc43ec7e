"""Two workers that have nothing in common but a git URL, a Prefect server and a DVC remote on S3 (moto's server)."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.prefect_server import Server


@pytest.fixture
def repository(small_project, s3, s3_server: str, tmp_path: Path) -> str:
    """A bare repository, whose DVC remote is on S3; gives its URL."""
    s3.create_bucket(Bucket="results")
    small_project.run("dvc", "remote", "add", "--default", "store", "s3://results/dvc")
    small_project.run("dvc", "remote", "modify", "store", "endpointurl", s3_server)
    small_project.commit("remote")
    small_project.run("git", "clone", "--quiet", "--bare", ".", str(tmp_path / "photos.git"))
    return f"file://{tmp_path}/photos.git"


def _machine(small_project, tmp_path: Path, name: str):
    """A clone with a cache folder of its own, as another user's."""
    small_project.run("git", "clone", "--quiet", str(tmp_path / "photos.git"), str(tmp_path / name))
    return type(small_project)(tmp_path / name), {"XDG_CACHE_HOME": str(tmp_path / f"{name}-cache")}


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("deployed")
def test_what_one_has_computed_the_other_finds_and_two_pushes_at_once_lose_nothing(
    small_project, repository, server: Server, tmp_path: Path
):
    (first, mine), (second, yours) = (_machine(small_project, tmp_path, name) for name in ("first", "second"))
    worker = f"{sys.executable} -m flows.worker --run-once"
    ask = f"prefect deployment run pipeline/local -p repo={repository} -p experiment="
    first.run(*shlex.split(f"{ask}one"), PREFECT_API_URL=server.url)
    first.run(*shlex.split(worker), PREFECT_API_URL=server.url, **mine)
    assert server.task_states(server.flow_runs()[0]["id"]) == {"download": "Ran", "train": "Ran"}
    second.run(*shlex.split(f"{ask}two"), PREFECT_API_URL=server.url)
    second.run(*shlex.split(worker), PREFECT_API_URL=server.url, **yours)
    assert server.task_states(server.flow_runs()[0]["id"]) == {"download": "Cached", "train": "Cached"}

    flow = (sys.executable, "-m", "flows.pipeline", "--repo", repository)
    started = []
    for number, (machine, own) in enumerate(((first, mine), (second, yours))):
        command = (*flow, "-n", f"at-once-{number}", "-S", f"trainer.max_epochs={number + 1}")
        environment = {**os.environ, "PREFECT_API_URL": server.url, **own}
        started.append(subprocess.Popen(command, cwd=machine.path, env=environment, stdout=subprocess.DEVNULL))
    assert [process.wait(400) for process in started] == [0, 0]
    refs = first.run("git", "ls-remote", repository, "refs/exps/*").stdout
    assert {line.rpartition("/")[2] for line in refs.splitlines()} == {"one", "two", "at-once-0", "at-once-1"}
    third, others = _machine(small_project, tmp_path, "third")
    third.run("dvc", "exp", "pull", "origin", "at-once-1", **others)
    third.run("dvc", "exp", "apply", "at-once-1", **others)
    assert (third.path / "models/model.onnx").read_text() == "model"
