"""Killed at any instant, a run goes on with the same command, and ends with the bytes of one that was not.

`make faults N=300` does the same as often as asked and prints a table.
"""

import random
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import Project
from tests.faults.chains import COMMAND, named_kills, prepare, random_kills, results, run_chain, service_kills
from tests.faults.victim import Victim


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> tuple[Project, dict[str, bytes]]:
    """A project in which nothing has run, and what a run without kills makes of it."""
    alone = worker_id == "master"
    folder = (tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent) / "undisturbed"
    with FileLock(folder.with_suffix(".lock")):  # one for all of pytest-xdist's workers
        if not (folder / "finished").exists():
            prepare(folder / "template")
            reference = prepare(folder / "run" / "project")
            victim = Victim(reference, COMMAND)
            assert victim.finish() == 0, victim.said()
            (folder / "finished").touch()
    return Project(folder / "template"), results(Project(folder / "run" / "project"))


@pytest.mark.parametrize(
    "kills",
    [
        named_kills(random.Random(1)),
        named_kills(random.Random(2)),
        random_kills(random.Random(3), 4),
        service_kills(random.Random(4)),
    ],
    ids=["at every point", "at every point again", "at random instants", "of W&B's service"],
)
def test_a_chain_of_kills(kills, undisturbed, tmp_path: Path):
    template, expected = undisturbed
    outcomes, problem = run_chain(template, tmp_path, kills, expected)
    assert not problem
    assert [outcome.kill for outcome in outcomes] == kills
    assert all(outcome.hit for outcome in outcomes if outcome.kill.point != "at random")
