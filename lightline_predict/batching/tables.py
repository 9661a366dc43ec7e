"""Images that a table names or holds: CSV, TSV and Parquet, read some rows at a time."""

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from lightline_predict.batching.items import InputError, Item, printable
from lightline_predict.batching.places import LocalPlace, S3Place, open_place

_USUAL = ("path", "image", "file_name", "filename", "file")  # columns that are looked for, in this order
_SEPARATORS = (",", ";", "\t", "|")
_ROWS = 32  # read at once
_BUFFER = 2**20  # bytes of a Parquet file that are read at once

Place = LocalPlace | S3Place


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none at all"


class _Table:
    """Rows of (what is in the column, id), made items."""

    is_stream = False

    def __init__(self, place: Place, column: str | None, id_column: str | None, names: Sequence[str]):
        self._place = place
        self._folder = place.beside()
        self.column = column or next((name for name in _USUAL if name in names), None)
        self.id_column = id_column
        if self.column is None:
            raise InputError(
                f"{place} has none of the columns {', '.join(_USUAL)}; --column names the one that holds paths or "
                f"images; there are {_listed(names)}."
            )
        for name in filter(None, (self.column, id_column)):
            if name not in names:
                raise InputError(f"{place} has no column {name!r}; there are {_listed(names)}.")

    def items(self) -> Iterator[Item]:
        stamp = self._place.stamp()  # of bytes inside the table
        for number, (value, name) in enumerate(self._rows(), start=1):
            yield self._item(value, name, f"row {number}", stamp)

    def _rows(self) -> Iterable[tuple[Any, Any]]:
        raise NotImplementedError

    def _item(self, value: Any, name: Any, row: str, stamp: str) -> Item:
        named = None if name is None else printable(str(name))
        path = None
        if isinstance(value, dict):  # as Hugging Face's data sets have it
            value, path = value.get("bytes") or value.get("path"), value.get("path")
        if isinstance(value, bytes):
            return Item(named or printable(path or row), partial(bytes, value), len(value), stamp)
        if not value:
            return Item(named or row, refused=f"row has no {self.column}", stamp=stamp)
        found = self._named(str(value))
        return found._replace(id=named or printable(str(value)))

    def _named(self, path: str) -> Item:
        if "://" in path:
            try:
                return S3Place(path).item(path) if path.startswith("s3://") else open_place(path).item("")
            except InputError as error:
                return Item(path, refused=str(error))
        return self._folder.item(path)

    def share(self) -> float | None:
        return None


class CsvInput(_Table):
    """A CSV or TSV table with a column of paths."""

    def __init__(self, place: Place, file: IO[bytes], column: str | None, id_column: str | None):
        self._file, self._place = file, place
        with self._explained():
            header = self._text().readline()
            wanted = {name for name in (column, id_column) if name} or set(_USUAL)
            self._separator = _separator(header, wanted)
            names = next(csv.reader([header], delimiter=self._separator), [])
        super().__init__(place, column, id_column, names)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (csv.Error, UnicodeError) as error:
            raise InputError(f"{self._place} cannot be read as a table in UTF-8: {error}.") from error

    def _text(self) -> io.TextIOWrapper:
        self._file.seek(0)
        start = self._file.read(2)
        self._file.seek(0)
        encoding = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        # Without a buffer of its own that would close the file with it.
        return io.TextIOWrapper(io.BufferedReader(_Unclosed(self._file)), encoding, newline="")

    def _rows(self) -> Iterator[tuple[Any, Any]]:
        with self._explained():
            for row in csv.DictReader(self._text(), delimiter=self._separator):
                yield row[self.column or ""], row[self.id_column] if self.id_column else None

    def count(self) -> int | None:
        return None if self._place.is_remote else sum(1 for _ in self._rows())


class _Unclosed(io.RawIOBase):
    """A file that stays open when its reader goes."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _separator(header: str, wanted: set[str]) -> str:
    """Find the separator that makes one of the names a column; a comma where none does."""
    for separator in _SEPARATORS:
        if wanted & {name.strip('"') for name in header.strip().split(separator)}:
            return separator
    return _SEPARATORS[0]


class ParquetInput(_Table):
    """A Parquet table with a column of paths, or of encoded images: bytes, or Hugging Face's struct."""

    def __init__(self, place: Place, file: IO[bytes], column: str | None, id_column: str | None):
        try:
            # Pages as they are needed, not whole row groups, which hold gigabytes in a table of images.
            self._table = pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{place} is a damaged Parquet file: {error}.") from error
        schema = self._table.schema_arrow
        super().__init__(place, column, id_column, schema.names)
        kind = schema.field(self.column or "").type
        if not _is_readable(kind):
            raise InputError(
                f"{place}'s column {self.column!r} is of type {kind}; paths (string), encoded images (binary) and "
                "Hugging Face's images (struct of bytes and path) can be read. --column names another."
            )

    def _rows(self) -> Iterator[tuple[Any, Any]]:
        names = [name for name in dict.fromkeys((self.column, self.id_column)) if name]
        try:
            for batch in self._table.iter_batches(_ROWS, columns=names, use_threads=False):
                values = batch.column(0 if batch.schema.names[0] == self.column else 1)
                ids = batch[self.id_column].to_pylist() if self.id_column else [None] * len(values)
                yield from zip(values.to_pylist(), ids, strict=True)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self._place} is a damaged Parquet file: {error}.") from error

    def count(self) -> int | None:
        return self._table.metadata.num_rows


def _is_readable(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        return {"bytes", "path"} <= {kind.field(number).name for number in range(kind.num_fields)}
    plain = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(is_kind(kind) for is_kind in (*plain, pa.types.is_string_view, pa.types.is_binary_view))
