"""The file of the splits."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lightline.data.dataset import Dataset, Row, write_dataset
from lightline.data.splits import NAMES, read_splits, write_splits
from lightline.errors import DataError
from lightline_predict import images
from lightline_predict.images import pixel_digest
from stages.split.strategies import Columns, assign
from tests.support.columns import STRATIFIED, columns


def small_dataset(folder: Path, labels: Sequence[int]) -> Dataset:
    rows = []
    for number, label in enumerate(labels):
        pixels = np.full((2, 2, 3), number, np.uint8)
        rows.append(Row(f"{number:03d}", images.encode(pixels), f"class-{label}", 2, 2, pixel_digest(pixels)))
    write_dataset(rows, None, folder)
    return Dataset(folder)


def test_the_file_gives_back_what_was_written(tmp_path: Path):
    dataset = small_dataset(tmp_path / "dataset", [0, 1] * 10)
    table = Columns.of(dataset)
    written = assign(table, STRATIFIED, 0)
    write_splits(table.ids, table.labels, written, tmp_path / "splits.parquet")
    splits = read_splits(tmp_path / "splits.parquet")
    splits.check_dataset(dataset)
    for number, name in enumerate(NAMES):
        assert splits.rows(name).tolist() == np.flatnonzero(written == number).tolist()
    with pytest.raises(ValueError, match="'valid' is no split"):
        splits.rows("valid")


def test_equal_splits_are_equal_files_and_different_ones_have_another_digest(tmp_path: Path):
    table = columns([0, 1] * 10)
    files = []
    for number, seed in enumerate((0, 0, 1)):
        files.append(tmp_path / f"{number}.parquet")
        write_splits(table.ids, table.labels, assign(table, STRATIFIED, seed), files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()
    assert read_splits(files[0]).digest == read_splits(files[1]).digest != read_splits(files[2]).digest


def test_a_split_of_another_dataset_is_refused(tmp_path: Path):
    table = Columns.of(small_dataset(tmp_path / "first", [0, 1] * 10))
    write_splits(table.ids, table.labels, assign(table, STRATIFIED, 0), tmp_path / "splits.parquet")
    splits = read_splits(tmp_path / "splits.parquet")
    for name, labels in (("longer", [0, 1] * 11), ("relabelled", [1, 0] * 10)):
        with pytest.raises(DataError, match="not made for this dataset"):
            splits.check_dataset(small_dataset(tmp_path / name, labels))


def test_a_missing_or_damaged_file_says_what_to_do(tmp_path: Path):
    with pytest.raises(DataError, match="dvc repro split"):
        read_splits(tmp_path / "splits.parquet")
    (tmp_path / "splits.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="damaged"):
        read_splits(tmp_path / "splits.parquet")
