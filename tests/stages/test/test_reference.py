"""The reference holds at most 2,000 of the test images, in the columns of a served file's log."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.test import reference
from tests.support.samples import random_pixels, save_dataset


def test_a_sample_keeps_what_belongs_together(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "MOST", 5)
    dataset = save_dataset(tmp_path / "dataset", [random_pixels(4 + number, 7, 3, seed=number) for number in range(12)])
    rows = np.arange(2, 12)
    logits = np.eye(3)[rows % 3] * rows[:, None]
    for name in ("one", "again"):
        reference.write_reference(logits, 2.0, np.tile(rows[:, None], 4), dataset, rows, tmp_path / f"{name}.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    table = pq.read_table(tmp_path / "one.parquet")
    assert len(table) == 5
    for row in table.to_pylist():
        number = int(row["embedding"][0])
        assert row["height"] == 4 + number
        assert row["width"] == 7
        expected = np.exp(number / 2) / (np.exp(number / 2) + 2)
        assert row["probabilities"][number % 3] == pytest.approx(expected, rel=1e-6)


def test_a_network_without_a_last_layer_has_no_embedding(tmp_path):
    dataset = save_dataset(tmp_path / "dataset", [random_pixels(4, 4, 3)])
    reference.write_reference(np.ones((1, 3)), 1.0, np.zeros((1, 0)), dataset, np.arange(1), tmp_path / "one.parquet")
    assert pq.read_table(tmp_path / "one.parquet")["embedding"].to_pylist() == [None]
