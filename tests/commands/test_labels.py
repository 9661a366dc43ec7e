"""Wrong labels that were planted among the digits are found through real runs, and odd pictures by what they are."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits

from commands.labelling.odd import odd_pictures
from tests.support.project import Project, copy_project
from tests.support.samples import random_pixels, save_dataset

_SHARE = 0.05  # of wrong labels
_PER_CLASS = 150


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


@pytest.mark.timeout(900)  # two trainings, and all stages around them twice
def test_planted_errors_are_found_and_what_was_finished_is_not_done_again(planted, tmp_path):
    project, wrong = planted
    settings = ("data=folder", f"data.path={tmp_path / 'photos'}", "trainer.max_epochs=12", "data.max_rejected=0")
    words = [word for setting in settings for word in ("-S", setting)]
    command = (sys.executable, "-m", "lightline", "labels", "--folds", "2", *words)
    done = project.run(*command, OMP_NUM_THREADS="2", WANDB_MODE="disabled")
    rows = list(csv.DictReader((project.path / "reports/labels/suspects.csv").read_text().splitlines()))
    found = [row["id"] for row in rows]
    first = found[: len(wrong)]
    assert len(set(first) & wrong) / len(first) >= 0.9
    assert len(set(found) & wrong) / len(wrong) >= 0.8
    assert f"{len(rows)} of {10 * _PER_CLASS} labels are likely wrong" in done.stdout
    assert rows == sorted(rows, key=lambda row: float(row["quality"]))
    again = project.run(*command, OMP_NUM_THREADS="2", WANDB_MODE="disabled")
    assert "epoch 1/12" not in again.stdout
    assert list(csv.DictReader((project.path / "reports/labels/suspects.csv").read_text().splitlines())) == rows


def test_odd_pictures_are_listed_with_what_is_odd(tmp_path):
    def photo(seed: int) -> np.ndarray:
        coarse = Image.fromarray(random_pixels(12, 16, 3, seed=seed))
        return np.asarray(coarse.resize((160, 120), Image.Resampling.BICUBIC)) // 2 + random_pixels(120, 160, 3) // 4

    pictures = [photo(seed) for seed in range(60)]
    placeholder = np.full((120, 160, 3), 240, np.uint8)
    placeholder[50:60, 70:90] = 0
    pictures[5] = placeholder
    pictures[7] = pictures[8]  # of two classes
    pictures[20] = pictures[20] // 40
    pictures[30] = np.asarray(Image.fromarray(pictures[30]).filter(ImageFilter.GaussianBlur(9)))
    pictures[40] = pictures[40][:6, :8]
    found = {(int(one.id), one.what) for one in odd_pictures(save_dataset(tmp_path / "dataset", pictures))}
    assert {
        (5, "of one colour"),
        (20, "much darker than the rest"),
        (30, "much blurrier"),
        (40, "much smaller"),
    } <= found
    assert {(7, "the same picture several times"), (8, "the same picture several times")} <= found
    assert {number for number, _ in found} <= {5, 7, 8, 20, 30, 40}


def test_too_few_folds_are_refused(tmp_path):
    project = copy_project(tmp_path / "project")
    done = project.run(sys.executable, "-m", "lightline", "labels", "--folds", "1", check=False)
    assert (done.returncode, "--folds must be at least 2" in done.stderr) == (2, True)
