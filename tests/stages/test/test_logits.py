"""Logits kept in a file."""

from pathlib import Path

import numpy as np
import pytest

from lightline.errors import DataError
from lightline.models.logits import read_logits, write_logits
from tests.support.evaluations import made_up


def test_logits_come_back_as_they_were(tmp_path: Path):
    logits, labels = made_up(20, 0)
    write_logits(np.array([str(number) for number in range(20)], object), labels, logits, tmp_path / "val.parquet")
    found_logits, found_labels = read_logits(tmp_path / "val.parquet")
    assert np.array_equal(found_logits, logits)
    assert np.array_equal(found_labels, labels)


def test_an_empty_split_has_empty_logits(tmp_path: Path):
    write_logits(np.array([], object), np.zeros(0, np.int32), np.zeros((0, 6), np.float32), tmp_path / "val.parquet")
    logits, labels = read_logits(tmp_path / "val.parquet")
    assert len(logits) == len(labels) == 0


def test_missing_logits_say_what_to_do(tmp_path: Path):
    with pytest.raises(DataError, match="dvc repro train"):
        read_logits(tmp_path / "val.parquet")
