"""Chains of kills: a run is killed, started again with the same command, killed further on, and so to its end."""

import random
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml

from lightline.runtime.dvc_cache import is_lock
from tests.faults.victim import Kill, Victim
from tests.support.project import Project, copy_project

COMMAND = ("dvc", "repro")
FLOW = (sys.executable, "-m", "flows.pipeline", "--apply")  # needs PREFECT_API_URL
EPOCHS, STEPS_PER_EPOCH = 2, 20  # of the digits' 1,257 training images in batches of 64
INTERVAL = 6  # steps between two saved states
AT_ONCE = ("stage", "all")  # with no time to end well
KINDS = (*AT_ONCE, "dvc")
_COUNTED = ("hit", "mended", "recovered", "identical")
_LONGEST = 1200  # hundredths of a second until a kill at random


@dataclass(frozen=True)
class Outcome:
    """What became of a kill.

    hit: it met a live process. mended: it met DVC while that wrote a file of its own, which `make repair` then had to
    mend. recovered: the same command then went on. identical: at the chain's end, all results were those of a run
    without kills, and every step was in them once.
    """

    kill: Kill
    hit: bool
    mended: bool
    recovered: bool
    identical: bool


def prepare(folder: Path) -> Project:
    """A project with a short training, its results not there yet."""
    project = copy_project(folder)
    project.set_conf("trainer/default", max_epochs=EPOCHS)
    project.set_conf("checkpoint/default", every_n_train_steps=INTERVAL)
    project.set_conf("export/default", latency="false")  # the one result with a clock in it
    project.run("git", "rm", "--quiet", "--cached", "dvc.lock")
    (project.path / "dvc.lock").unlink()
    project.commit("short")
    return project


def named_kills(generator: random.Random) -> list[Kill]:
    """One at each point, in the order in which a run passes them."""
    last = STEPS_PER_EPOCH - 1
    first, second = generator.randrange(2 * INTERVAL, last), generator.randrange(INTERVAL, last)
    points = [
        ("in download", generator.randrange(1700)),
        ("in split", 0),
        ("after the data", 0),
        ("in the middle of a save", generator.randrange(2)),
        ("in a step", first),
        ("in a step", last),
        ("in validation", 0),
        ("between a save and its digest", 0),
        ("in a step", STEPS_PER_EPOCH + second),
        ("in a step", STEPS_PER_EPOCH + last),
        ("in validation", 1),
        ("after the last epoch", 0),
        ("between two checkpoints", 0),
        ("before DVC's commit", 0),
        ("in test", 0),
        ("in export", 0),
    ]
    # Told to end at an epoch's last step, a stage goes on through the validation: its points would not come again.
    lasts = {("in a step", last), ("in a step", STEPS_PER_EPOCH + last)}
    return [Kill(generator.choice(AT_ONCE if point in lasts else KINDS), *point) for point in points]


def service_kills(generator: random.Random) -> list[Kill]:
    """W&B's service; the run goes to its end by itself."""
    return [Kill("wandb", "in a step", generator.randrange(EPOCHS * STEPS_PER_EPOCH))]


def flow_kills(generator: random.Random) -> list[Kill]:
    """Of runs of the Prefect flow."""
    return [
        Kill("flow", "in download", generator.randrange(1700)),
        Kill("all", "in a step", generator.randrange(STEPS_PER_EPOCH)),
        Kill("flow", "in test"),
    ]


def random_kills(generator: random.Random, number: int) -> list[Kill]:
    """At any instant."""
    return [Kill(generator.choice(KINDS), "at random", generator.randrange(20, _LONGEST)) for _ in range(number)]


def run_chain(
    template: Project, folder: Path, kills: list[Kill], expected: dict[str, bytes], command: tuple[str, ...] = COMMAND
) -> tuple[list[Outcome], str]:
    """Kill, start again, and at last let it end; gives what became of each kill, and what went wrong, if anything."""
    project = Project(folder / "project")
    shutil.copytree(template.path, project.path, symlinks=True)
    dealt: list[tuple[Kill, bool, bool]] = []
    finished, problem = False, ""
    try:
        for kill in kills:
            hit = _strike(project, command, kill)
            dealt.append((kill, hit, command == COMMAND and _mend(project)))  # the flow mends them itself
        last = Victim(project, command)
        assert last.finish() == 0, last.said()
        finished = True
        found = results(project)
        assert found == expected, (
            f"other results: {sorted(name for name in expected if found.get(name) != expected[name])}"
        )
        check_steps(folder / "steps")
    except AssertionError as error:
        problem = str(error)
    # One that was not recovered from is the last that was dealt.
    recovered = [finished or number < len(dealt) for number in range(1, len(dealt) + 1)]
    outcomes = [Outcome(*parts, went_on, not problem) for parts, went_on in zip(dealt, recovered, strict=True)]
    return outcomes, problem


def _strike(project: Project, command: tuple[str, ...], kill: Kill) -> bool:
    victim = Victim(project, command, kill)
    victim.strike()
    assert kill.kind != "wandb" or victim.process.returncode == 0, victim.said()
    return victim.hit is not None


def _mend(project: Project) -> bool:
    """What a plain `dvc repro` stops at before any code of ours runs; gives whether there was something to mend."""
    lock, rwlock = project.path / "dvc.lock", project.path / ".dvc/tmp/rwlock"
    damaged = (lock.exists() and not is_lock(lock.read_bytes())) or (rwlock.exists() and not rwlock.read_bytes())
    if damaged:
        assert "was damaged" in project.run(sys.executable, "-m", "lightline", "repair").stdout
    return damaged


def results(project: Project) -> dict[str, bytes]:
    """All that the stages write, and what DVC records of it."""
    stages = yaml.safe_load((project.path / "dvc.lock").read_text())["stages"]
    outs = [out["path"] for stage in stages.values() for out in stage.get("outs", [])]
    files = [path for out in outs for path in [project.path / out, *(project.path / out).rglob("*")] if path.is_file()]
    return {str(path.relative_to(project.path)): path.read_bytes() for path in [project.path / "dvc.lock", *files]}


def check_steps(notes: Path) -> None:
    """Every step was taken, in order, and a resumed process repeated no more than an interval."""
    taken = [tuple(map(int, line.split())) for line in notes.read_text().splitlines()]
    assert {step for _, step in taken} == set(range(EPOCHS * STEPS_PER_EPOCH))
    for (process, step), (later, following) in pairwise(taken):
        if process == later:
            assert following == step + 1
        else:
            # The last step noted may not have been finished.
            assert step - INTERVAL <= following <= step + 1
    assert taken[-1][1] == EPOCHS * STEPS_PER_EPOCH - 1


def table(outcomes: list[Outcome], by: str) -> str:
    """Markdown: a line for each kind, or for each point."""
    rows: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        row = rows.setdefault(getattr(outcome.kill, by), Counter())
        row.update({"kills": 1, **{name: int(getattr(outcome, name)) for name in _COUNTED}})
    lines = [f"| {by} | kills | hit a live process | mended | recovered | identical |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {row['kills']} | {' | '.join(str(row[part]) for part in _COUNTED)} |" for name, row in rows.items()
    ]
    return "\n".join(lines)
