"""Killed at any instant, a run goes on with the same command, and ends with the bytes of one that was not.

`make faults N=300` does the same as often as asked and prints a table.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.chains import (
    COMMAND,
    FLOW,
    flow_kills,
    named_kills,
    prepare,
    random_kills,
    results,
    run_chain,
    service_kills,
)
from tests.faults.victim import Victim
from tests.support.prefect_server import Server, prefect_server
from tests.support.project import Project


@pytest.fixture(scope="session")
def undisturbed(once) -> tuple[Project, dict[str, bytes]]:
    """A project in which nothing has run, and what a run without kills makes of it."""

    def make(folder: Path) -> None:
        prepare(folder / "template")
        victim = Victim(prepare(folder / "run" / "project"), COMMAND)
        assert victim.finish() == 0, victim.said()

    folder = once("undisturbed", make)
    return Project(folder / "template"), results(Project(folder / "run" / "project"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[Server]:
    with prefect_server(tmp_path_factory.mktemp("server"), prefect_database) as server:
        yield server


@pytest.mark.timeout(1800)  # every kill starts the stage anew, which an old processor takes long for
@pytest.mark.parametrize(
    "kills",
    [
        named_kills(random.Random(1)),
        random_kills(random.Random(3), 4),
        random_kills(random.Random(6), 4),
        service_kills(random.Random(4)),
    ],
    ids=["at every point", "at random instants", "at random instants again", "of W&B's service"],
)
def test_a_chain_of_kills(kills, undisturbed, tmp_path: Path):
    template, expected = undisturbed
    outcomes, problem = run_chain(template, tmp_path, kills, expected)
    assert not problem
    assert [outcome.kill for outcome in outcomes] == kills
    assert all(outcome.hit for outcome in outcomes if outcome.kill.point != "at random")


@pytest.mark.timeout(1800)
def test_a_chain_of_kills_of_the_flow(server, undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_API_URL", server.url)
    template, expected = undisturbed
    kills = flow_kills(random.Random(5))
    outcomes, problem = run_chain(template, tmp_path, kills, expected, FLOW)
    assert not problem
    assert [outcome.hit for outcome in outcomes] == [True] * len(kills)
    assert {run["state_type"] for run in server.flow_runs()} == {"CRASHED", "COMPLETED"}
