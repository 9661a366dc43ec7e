"""Columns of a CSV or Parquet file as texts."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from lightline.errors import DataError

# What stands for no value. Words like NA or None may well be classes.
_NULLS = ("", "nan", "NaN", "<NA>")


def read_columns(path: Path, names: Sequence[str]) -> dict[str, list[str | None]]:
    """The named columns, values of any type as texts, None for none; CSV or Parquet, recognised by the first bytes.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    try:
        table = _read_parquet(path, names) if _is_parquet(path) else _read_csv(path, names)
        return {name: _texts(table[name]) for name in dict.fromkeys(names)}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _read_parquet(path: Path, names: Sequence[str]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        _check_columns(path, names, file.schema_arrow.names)
        return file.read(columns=list(names))


def _read_csv(path: Path, names: Sequence[str]) -> pa.Table:
    # As texts: a label 007 is not the number 7.
    options = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    table = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=options)
    _check_columns(path, names, table.column_names)
    return table


def _check_columns(path: Path, names: Sequence[str], found: list[str]) -> None:
    if repeated := sorted({name for name in names if found.count(name) > 1}):
        raise DataError(f"{path} has more than one column {', '.join(map(repr, repeated))}.")
    missing = [name for name in dict.fromkeys(names) if name not in found]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}; its columns are {', '.join(map(repr, found))}. "
            "data.path_column, data.label_column, data.split_column and data.group_column name those to use."
        )


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return [None if text in _NULLS else text for text in column.cast(pa.string()).to_pylist()]
