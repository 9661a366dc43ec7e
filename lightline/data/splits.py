"""Which images train, which choose the best epoch (val), which judge (test): `data/splits.parquet`.

It has a row an image, in the dataset's order; no image is copied.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline.data.dataset import Dataset
from lightline.errors import DataError
from lightline.files import content_digest, whole_file

SPLITS = Path("data/splits.parquet")

# EXCLUDED: a copy of a val or test image that the source has in train too (or of a test image in val).
NAMES = ("train", "val", "test", "excluded")
TRAIN, VAL, TEST, EXCLUDED = range(4)

_SCHEMA = pa.schema([("id", pa.string()), ("label", pa.int32()), ("split", pa.string())])


def write_splits(ids: np.ndarray, labels: np.ndarray, splits: np.ndarray, path: Path = SPLITS) -> None:
    """Write the split, int8 [rows] of positions in NAMES; equal splits make equal bytes."""
    names = pa.DictionaryArray.from_arrays(pa.array(splits), pa.array(NAMES)).cast(pa.string())
    table = pa.table([pa.array(ids, pa.string()), pa.array(labels, pa.int32()), names], schema=_SCHEMA)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


class Splits:
    """The split, read."""

    def __init__(self, table: pa.Table):
        self._table = table

    def rows(self, name: str) -> np.ndarray:
        """Find the row numbers in the dataset of the images in train, val, test or excluded: int64, ascending."""
        if name not in NAMES:
            raise ValueError(f"{name!r} is no split; there are {', '.join(NAMES)}")
        return np.flatnonzero(self._table["split"].to_numpy() == name)

    def sides(self) -> dict[str, str]:
        """Give the split of each image by its id."""
        return dict(zip(self._table["id"].to_pylist(), self._table["split"].to_pylist(), strict=True))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ids, labels and splits, in hexadecimal: the identity of the split, however the file is packed."""
        return content_digest(self._table.to_pydict())

    def check_dataset(self, dataset: Dataset) -> None:
        """Check that the split belongs to a dataset.

        Raises:
            DataError: the split was made for another dataset.
        """
        same = len(dataset) == len(self._table) and (
            np.array_equal(dataset.labels, self._table["label"].to_numpy())
            and np.array_equal(dataset.column("id"), self._table["id"].to_numpy())
        )
        if not same:
            raise DataError(
                f"The split ({len(self._table)} images) was not made for this dataset ({len(dataset)} images). "
                "`dvc repro split` makes it anew."
            )


def read_splits(path: Path = SPLITS) -> Splits:
    """Read the split.

    Raises:
        DataError: there is no split.
    """
    try:
        return Splits(pq.read_table(path, schema=_SCHEMA))
    except FileNotFoundError:
        raise DataError(f"{path} is missing; `dvc repro split` writes it.") from None
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is damaged ({error}); `dvc repro --force split` writes it anew.") from None


def stratified_choice(labels: np.ndarray, rows: np.ndarray, num_images: int, seed: int) -> np.ndarray:
    """Choose at random among rows, as many of every class as can be: int64 [at most num_images], ascending.

    labels: int of all images; rows: int64, those to choose from.
    """
    key = np.random.default_rng([seed]).random(len(rows))
    order = np.lexsort((key, labels[rows]))
    by_class = labels[rows][order]
    rank = np.arange(len(rows)) - np.searchsorted(by_class, by_class)
    return np.sort(rows[order[np.lexsort((key[order], rank))[:num_images]]])
