"""Workers: whose code they run, where the runs go."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.support.prefect_server import Server

_OWN = (sys.executable, "-m", "flows.worker", "--run-once")
_PREFECTS = ("prefect", "worker", "start", "--pool", "local", "--run-once")


@pytest.fixture
def clone(small_project, server: Server, tmp_path: Path):
    """Another clone of the project, from which the flow is deployed."""
    small_project.run("git", "clone", "--quiet", ".", str(tmp_path / "it's a clone"))
    clone = type(small_project)(tmp_path / "it's a clone")
    for command in ("work-pool create local --type process --overwrite", "--no-prompt deploy --all"):
        clone.run("prefect", *shlex.split(command), PREFECT_API_URL=server.url)
    return clone


def test_a_worker_runs_the_code_of_its_own_clone_wherever_the_flow_was_deployed(
    small_project, clone, server: Server, tmp_path: Path
):
    away = clone.path.rename(tmp_path / "away")
    _run(small_project, server, "here")
    small_project.run(*_OWN, PREFECT_API_URL=server.url)
    assert server.flow_runs()[0]["state_type"] == "COMPLETED", server.logs(server.flow_runs()[0]["id"])
    assert small_project.experiments() == {"here"}

    # Prefect's own worker, started anywhere, runs the code that was deployed.
    away.rename(clone.path)
    _run(small_project, server, "there")
    type(clone)(tmp_path).run(*_PREFECTS, PREFECT_API_URL=server.url)
    assert server.flow_runs()[0]["state_type"] == "COMPLETED", server.logs(server.flow_runs()[0]["id"])
    assert clone.experiments() == {"there"}


def _run(project, server: Server, experiment: str) -> None:
    """Ask for a run, with `repo` as it is by itself."""
    asked = ("-p", f'experiment="{experiment}"')
    project.run("prefect", "deployment", "run", "pipeline/local", *asked, PREFECT_API_URL=server.url)
