"""Two experiments side by side: the numbers, and the page from real runs."""

import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from commands.comparing.dataset_here import dataset_here
from commands.comparing.pairs import Experiment, compare
from lightline.errors import DataError
from tests.support.project import Project
from tests.support.samples import random_pixels, save_dataset


def experiment(name: str, right: np.ndarray, ids: list[str] | None = None, class_name: str = "a") -> Experiment:
    """Of two classes; right: bool [images]."""
    labels = np.arange(len(right)) % 2
    predicted = np.where(right, labels, 1 - labels)
    table = pa.table(
        {
            "id": ids or [f"{number:04d}" for number in range(len(right))],
            "label": labels,
            "predicted": predicted,
            "class": [class_name if label == 0 else "b" for label in labels],
            "predicted_class": [class_name if label == 0 else "b" for label in predicted],
            "confidence": np.full(len(right), 0.9),
            "logits": list(np.log(np.where(np.eye(2)[predicted], 0.9, 0.1)).astype(np.float32)),
        }
    )
    return Experiment(name, table, {"accuracy": float(right.mean()), "temperature": 1.0, "loss": 0.5}, {"seed": 1}, "0")


def test_the_difference_has_the_interval_of_paired_images():
    rng = np.random.default_rng(0)
    first = rng.random(2_000) < 0.9
    second = first ^ (rng.random(2_000) < 0.05)
    pairs = compare(experiment("one", first), experiment("two", second))
    found = pairs.differences[0]
    assert (found.name, found.difference) == ("accuracy", pytest.approx(second.mean() - first.mean()))
    spread = np.std(second.astype(float) - first) / np.sqrt(2_000)
    assert found.lower == pytest.approx(found.difference - 1.96 * spread, abs=0.1 * spread + 0.001)
    assert found.upper == pytest.approx(found.difference + 1.96 * spread, abs=0.1 * spread + 0.001)
    assert pairs.only_first.tolist() == np.flatnonzero(first & ~second).tolist()
    assert pairs.only_second.tolist() == np.flatnonzero(second & ~first).tolist()
    assert pairs.differences[1].difference == pytest.approx((first.mean() - second.mean()) * np.log(9), rel=1e-4)


def test_equals_do_not_differ():
    right = np.arange(50) % 7 > 0
    pairs = compare(experiment("one", right), experiment("two", right))
    assert (pairs.differences[0].difference, pairs.differences[0].lower, pairs.p_value) == (0, 0, 1)


def test_only_images_that_both_have_are_compared():
    right = np.ones(4, bool)
    pairs = compare(experiment("one", right, list("abcd")), experiment("two", ~right, list("cdef")))
    assert pairs.ids == ["c", "d"]
    with pytest.raises(DataError, match="one and two have no test image in common"):
        compare(experiment("one", right, list("abcd")), experiment("two", right, list("efgh")))
    with pytest.raises(DataError, match="one calls '0000' 'a' and two 'x'"):
        compare(experiment("one", right), experiment("two", right, class_name="x"))


def test_the_command_writes_a_page_of_real_runs(finished_project: Project, tmp_path: Path):
    command = (sys.executable, "-m", "lightline", "report", "workspace", "HEAD", "--output", str(tmp_path / "c.html"))
    done = finished_project.run(*command)
    assert done.stdout.startswith("HEAD is right on 0.00 points more of the images than workspace")
    page = Path(re.findall(r"Look at it: (.*)", done.stdout)[0]).read_text(encoding="utf-8")
    assert page.count("<section>") == 4
    assert "<p>None.</p>" in page  # no parameter differs


def test_what_is_not_there_is_told(finished_project: Project):
    done = finished_project.run(sys.executable, "-m", "lightline", "report", "workspace", "nobody", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: 'nobody' has no results that can be read here")
    assert "Traceback" not in done.stderr


def test_the_workspaces_images_are_shown_where_they_are_those_of_the_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dataset_here({"0"}) is None
    dataset = save_dataset(Path("data/dataset"), list(random_pixels(2, 8, 8, 3)))
    assert dataset_here({"0"}) is None
    found = dataset_here({"0", dataset.digest})
    assert found is not None
    assert found.digest == dataset.digest
