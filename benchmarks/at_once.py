"""What do trainings cost that run at once?

The train stage on the digits, params.yaml as it stands, in a workspace each: two and four at once beside as many one
after the other, from the start of the first process to the end of the last. Each row also has two other ways at once:
with threads for all cores each, whoever else trains, and with one thread each (OMP_NUM_THREADS).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Pairs, Row, in_turn
from benchmarks.project import Project
from lightline_predict.machine import num_cores

_MOST = 1.2  # times the time of one after the other
_PAIRS = 3
_TRAIN = (sys.executable, "-m", "stages.train")


def run(quick: bool) -> list[Row]:
    """Return a row for each number of trainings; quick: two trainings, once."""
    numbers = [2] if quick else [2, 4]
    with tempfile.TemporaryDirectory() as folder:
        workspaces = [_workspace(Path(folder, str(number))) for number in range(numbers[-1])]
        return [_row(workspaces[:number], 1 if quick else _PAIRS) for number in numbers]


def _workspace(folder: Path) -> Project:
    """Make a workspace in which all is done that comes before training."""
    folder.mkdir()
    project = Project(folder)
    project.run("dvc", "repro", "split")
    return project


def _row(workspaces: list[Project], num_pairs: int) -> Row:
    found = _compared(workspaces, num_pairs)
    all_cores, one = (1 / _compared(workspaces, 1, OMP_NUM_THREADS=str(each)).ratio() for each in (num_cores(), 1))
    ours, reference = found.seconds()
    return Row(
        f"{len(workspaces)} trainings at once, beside one after the other (in one pair each, times as long: "
        f"{all_cores:.2f} with threads for all cores, {one:.2f} with one thread)",
        f"{ours:.1f} s",
        f"{reference:.1f} s",
        found.ratio(),
        target=f"at most {_MOST} times as long",
        met=1 / found.ratio() <= _MOST,
    )


def _compared(workspaces: list[Project], num_pairs: int, **variables: str) -> Pairs:
    """Time trainings, at once and in a row; variables: added to the environment of those that run at once."""

    def at_once() -> None:
        _check([process.wait() for process in [_start(workspace, **variables) for workspace in workspaces]])

    def in_a_row() -> None:
        _check([_start(workspace).wait() for workspace in workspaces])

    return in_turn(at_once, in_a_row, num_pairs, warm_up=False)


def _start(workspace: Project, **variables: str) -> subprocess.Popen:
    for left in ("models", "reports/train", ".lightline"):
        shutil.rmtree(workspace.path / left, ignore_errors=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    environment |= {**workspace.environment, "WANDB_MODE": "disabled", **variables}
    return subprocess.Popen(_TRAIN, cwd=workspace.path, env=environment, stdout=subprocess.DEVNULL)


def _check(statuses: list[int]) -> None:
    if any(statuses):
        raise RuntimeError(f"a training ended with status {max(statuses)}")
