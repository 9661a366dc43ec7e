"""Columns of a CSV or Parquet file as texts."""

import codecs
import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

from lightline.errors import DataError

# What stands for no value. Words like NA or None may well be classes, and so may nan among words.
_NULLS = ("", "<NA>")
_SEPARATORS = (",", ";", "\t", "|")
_HEADER = 2**20  # bytes at most of the line that names the columns


def read_columns(path: Path, names: Sequence[str]) -> dict[str, list[str | None]]:
    """Read the named columns, values of any type as texts, None for none; CSV or Parquet, as the first bytes tell.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    with _explained(path):
        table = _read_parquet(path, names) if _begins(path, b"PAR1") else _read_csv(path, names)
        return {name: _texts(table[name]) for name in dict.fromkeys(names)}


def column_names(path: Path, known: Sequence[str]) -> list[str]:
    """Read the names of all columns; known: some of them, by which a CSV's separator is found.

    Raises:
        DataError: as `read_columns`.
    """
    with _explained(path):
        if _begins(path, b"PAR1"):
            return pq.read_schema(path).names
        header = _header(path)[1]
        separator = _separator(header, known)
        return next(iter(csv.reader([header], delimiter=separator)), [])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {_reason(path, error)}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _reason(path: Path, error: Exception) -> str:
    if _begins(path, b"PK\x03\x04"):
        return "it is a zip archive or an Excel file; save the table as CSV, in the encoding UTF-8"
    if isinstance(error, UnicodeError) or "invalid UTF8" in str(error):
        return f"its encoding is not UTF-8 ({error}); save it as CSV in UTF-8, or in UTF-16 with the mark at its start"
    return str(error)


def _read_parquet(path: Path, names: Sequence[str]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        _check_columns(path, names, file.schema_arrow.names)
        return file.read(columns=list(names))


def _read_csv(path: Path, names: Sequence[str]) -> pa.Table:
    encoding, header = _header(path)
    table = read_csv(
        path,
        read_options=ReadOptions(encoding=encoding),
        parse_options=ParseOptions(delimiter=_separator(header, names), newlines_in_values=True),
        # As texts: a label 007 is not the number 7.
        convert_options=ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
    )
    _check_columns(path, names, table.column_names)
    return table


def _header(path: Path) -> tuple[str, str]:
    """Read the encoding, and the line that names the columns, as far as it can be read."""
    with pa.input_stream(str(path), compression="detect") as stream:
        start = stream.read(_HEADER)
    encoding = "utf-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    lines = start.decode("utf-16" if encoding == "utf-16" else "utf-8-sig", "replace").splitlines()
    return encoding, lines[0] if lines else ""


def _separator(header: str, names: Sequence[str]) -> str:
    """Find the separator that makes the names columns; a comma where none does."""
    for separator in _SEPARATORS:
        if set(names) <= {name.strip('"') for name in header.split(separator)}:
            return separator
    return _SEPARATORS[0]


def _check_columns(path: Path, names: Sequence[str], found: list[str]) -> None:
    if repeated := sorted({name for name in names if found.count(name) > 1}):
        raise DataError(f"{path} has more than one column {', '.join(map(repr, repeated))}.")
    missing = [name for name in dict.fromkeys(names) if name not in found]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}; its columns are {', '.join(map(repr, found))}. "
            "data.path_column, data.label_column, data.split_column and data.group_column name those to use. In a CSV "
            "the first line names the columns; the separator is a comma, semicolon, tab or |, without spaces around."
        )


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    texts = [None if text in _NULLS else text for text in column.cast(pa.string()).to_pylist()]
    # Among numbers nan is one that is missing; among words it is a word, such as a bread's.
    if not all(text is None or _is_number(text) for text in set(texts)):
        return texts
    return [None if text is None or text.lower() == "nan" else text for text in texts]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
