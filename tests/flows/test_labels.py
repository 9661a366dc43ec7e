"""Wrong labels that were planted among the digits are found, by the command and by its deployment."""

import csv
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.support.prefect_server import Server
from tests.support.project import Project, copy_project

_SHARE = 0.05  # of wrong labels
_PER_CLASS = 150
_QUIET = {"OMP_NUM_THREADS": "2", "WANDB_MODE": "disabled"}


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Project, set[str]]:
    """A project with a folder of digits, some in another's folder; and the paths of these."""
    project = copy_project(tmp_path / "project")
    digits, rng, wrong = load_digits(), np.random.default_rng(0), set()
    for label in range(10):
        for number in np.flatnonzero(digits.target == label)[:_PER_CLASS]:
            is_wrong = rng.random() < _SHARE
            given = (label + int(rng.integers(1, 10))) % 10 if is_wrong else label
            path = Path("photos", str(given), f"{number:04d}.png")
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digits.images[number] * 15.9).astype(np.uint8)).save(tmp_path / path)
            if is_wrong:
                wrong.add(path.relative_to("photos").as_posix())
    return project, wrong


@pytest.mark.usefixtures("deployed")
@pytest.mark.timeout(900)  # two trainings, and all stages around them twice
def test_planted_errors_are_found_and_the_deployment_finds_the_same_in_the_cache(planted, server: Server, tmp_path):
    project, wrong = planted
    settings = ["data=folder", f"data.path={tmp_path / 'photos'}", "trainer.max_epochs=12", "data.max_rejected=0"]
    words = [word for setting in settings for word in ("-S", setting)]
    done = project.run(sys.executable, "-m", "lightline", "labels", "--folds", "2", *words, **_QUIET)
    rows = _suspects(project)
    found = [row["id"] for row in rows]
    first = found[: len(wrong)]
    assert len(set(first) & wrong) / len(first) >= 0.9
    assert len(set(found) & wrong) / len(wrong) >= 0.8
    told = f"{len(rows)} of {10 * _PER_CLASS} labels are likely wrong"
    assert told in done.stdout
    assert rows == sorted(rows, key=lambda row: float(row["quality"]))

    (project.path / "reports/labels/suspects.csv").unlink()
    overrides = str(settings).replace("'", '"')
    for command in (
        f"prefect deployment run labels/local -p folds=2 -p overrides={shlex.quote(overrides)}",
        f"{sys.executable} -m flows.worker --run-once",
    ):
        project.run(*shlex.split(command), PREFECT_API_URL=server.url, **_QUIET)
    # Other tests have runs on this server, too.
    runs = [run for run in server.flow_runs() if set(settings) <= set(run["parameters"].get("overrides") or ())]
    (run,) = (run for run in runs if not run["parent_task_run_id"])
    assert (run["state_type"], told in run["state"]["message"]) == ("COMPLETED", True), server.logs(run["id"])
    assert _suspects(project) == rows
    folds = [server.task_states(each["id"]) for each in runs if each["parent_task_run_id"]]
    assert [fold["train"] for fold in folds] == ["Cached", "Cached"]


def test_folds_that_are_none_are_refused(tmp_path, project):
    done = project.run(sys.executable, "-m", "lightline", "labels", "--of", "nobody", check=False)
    assert done.returncode == 1
    assert "error: 'nobody' has no results that can be read here" in done.stderr


def _suspects(project: Project) -> list[dict[str, str]]:
    return list(csv.DictReader((project.path / "reports/labels/suspects.csv").read_text().splitlines()))
