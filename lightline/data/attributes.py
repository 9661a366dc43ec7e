"""What a source says of its images beyond class, split and group: the other columns of a table, to judge by."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline.errors import DataError
from lightline.files import whole_file

ATTRIBUTES = Path("data/attributes.parquet")
_ID = "id"
SLICE = "slice: "  # how the columns of predictions that say what images have in common begin


def write_attributes(ids: Sequence[str], columns: Mapping[str, Sequence[str | None]], path: Path = ATTRIBUTES) -> None:
    """Write texts [images] by name; equal ones make equal bytes. What has an id twice keeps the first."""
    names = [_ID, *(f"{number}" for number in range(len(columns)))]  # a column of the table may be called id, too
    table = pa.table([pa.array(values, pa.string()) for values in (ids, *columns.values())], names=names)
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        first.setdefault(name, row)
    titles = dict(zip(names[1:], columns, strict=True))
    rows = pa.array([first[name] for name in sorted(first)], pa.int64())
    with whole_file(path) as temporary:
        pq.write_table(table.take(rows).replace_schema_metadata(titles), temporary, compression="zstd")


def read_attributes(ids: np.ndarray, path: Path = ATTRIBUTES) -> dict[str, np.ndarray]:
    """Read what is known of the images with these ids: texts or None, object [images], by the table's own names.

    Raises:
        DataError: the file is missing.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; `dvc repro download` writes it.") from None
    positions = {name: row for row, name in enumerate(table[_ID].to_pylist())}
    rows = pa.array([positions.get(name) for name in ids], pa.int64())
    titles = {name.decode(): title.decode() for name, title in (table.schema.metadata or {}).items()}
    return {titles[name]: table[name].take(rows).to_numpy() for name in table.column_names if name != _ID}
