"""Odd pictures are found by what they are; tests/flows/test_labels.py has the wrong labels."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

from commands.labelling import folds
from commands.labelling.odd import odd_pictures
from lightline.errors import DataError
from tests.support.project import copy_project
from tests.support.samples import random_pixels, save_dataset


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


def test_runs_of_other_classes_are_no_folds(monkeypatch):
    def read(name: str, path: str) -> bytes:
        if path.endswith(".json"):
            return b'{"temperature": 1.0}'
        classes = {"digits": ["0", "1"], "letters": ["a", "b"]}[name]
        table = pa.table({
            "id": [f"{name}/{label}" for label in classes], "label": [0, 1], "class": classes,
            "logits": [np.zeros(2, np.float32)] * 2,
        })  # fmt: skip
        written = pa.BufferOutputStream()
        pq.write_table(table, written)
        return written.getvalue().to_pybytes()

    monkeypatch.setattr(folds, "read_file", read)
    assert folds.read_folds(["letters"]).classes == ["a", "b"]
    with pytest.raises(DataError, match="digits, letters are no folds of the same data"):
        folds.read_folds(["digits", "letters"])
