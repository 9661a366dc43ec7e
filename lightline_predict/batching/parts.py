"""OUT.parquet, and the parts beside it that a later run goes on from.

A part is a Parquet file of rows that follow those of the part before it. It says in its metadata what it was made
with, and the digest of the images that it covers; so what belongs to another model or other images is never mixed in.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from lightline_predict.batching.answering import Row
from lightline_predict.batching.items import Item
from lightline_predict.errors import LightlineError

_ROW_GROUP = 8192  # rows
_MADE_WITH, _COVERS = b"made_with", b"covers"


class OutputError(LightlineError):
    """OUT cannot be written, or what is there is of another run."""


class OtherPartsError(OutputError):
    """The parts are of another run."""

    def __init__(self, folder: Path, what: str):
        super().__init__(
            f"{folder} holds answers {what}. Delete that folder to begin anew, or name another file to write."
        )


def schema_of(classes: Sequence[str], embedding: bool, metadata: dict[str, str]) -> pa.Schema:
    """Describe OUT's columns; metadata: what its schema says of the model."""
    fields: dict[str, pa.DataType] = {
        "id": pa.string(),
        "predicted": pa.string(),
        "confidence": pa.float32(),
        "accepted": pa.bool_(),
        "set": pa.list_(pa.string()),
        "probabilities": pa.list_(pa.float32()),
        "width": pa.int32(),
        "height": pa.int32(),
        "error": pa.string(),
    }
    if embedding:
        fields["embedding"] = pa.list_(pa.float32())
    return pa.schema(list(fields.items()), {"classes": json.dumps(classes, ensure_ascii=False), **metadata})


class Parts:
    """The parts of one OUT, by their numbers.

    made_with: what the answers depend on beside the images, by name; the same for all parts.
    """

    def __init__(self, out: Path, schema: pa.Schema, made_with: dict[str, str]):
        self._out, self._schema, self._made_with = out, schema, made_with
        self.folder = out.with_name(f"{out.name}.parts")
        self._covered: list[tuple[int, str]] = []  # rows and digest of each part
        self._pending: list[Row] = []
        self._digest = hashlib.sha256()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out.

        Raises:
            OutputError: another one writes the same file.
        """
        with explained_writing(self._out):
            self.folder.mkdir(exist_ok=True)
            file = (self.folder / "lock").open("w")
        with file:
            if not _lock(file) or not (self.folder / "lock").exists():
                raise OutputError(f"Another process is writing {self._out}; wait for it, or name another file.")
            try:
                yield
            finally:
                if not self._covered:
                    shutil.rmtree(self.folder, ignore_errors=True)  # nothing to go on from
        with suppress(OSError):  # a network disk keeps the folder of an open file, the lock
            self.folder.rmdir()

    def find(self) -> None:
        """Look for the parts of earlier runs, in order; what follows a missing or damaged one is deleted.

        Raises:
            OtherPartsError: they were made with something else.
        """
        for path in (self._path(number) for number in range(len(list(self.folder.iterdir())))):
            if not path.exists():
                break
            try:
                found = pq.read_schema(path).metadata or {}
                rows = pq.read_metadata(path).num_rows
                made_with, covers = json.loads(found[_MADE_WITH]), found[_COVERS].decode()
            except (pa.ArrowException, OSError, KeyError, ValueError):
                break
            self._covered.append((rows, covers))
            if differing := [name for name, value in self._made_with.items() if made_with.get(name) != value]:
                raise OtherPartsError(self.folder, f"that were made with another {' and another '.join(differing)}")
        for path in self.folder.glob("[0-9]*.parquet"):
            if int(path.stem) >= len(self._covered):
                path.unlink()

    @property
    def num_rows(self) -> int:
        """Rows that are in parts."""
        return sum(rows for rows, _ in self._covered)

    def skip(self, items: Iterator[Item]) -> None:
        """Pass over the images that the parts cover.

        Raises:
            OtherPartsError: they are not those that the parts were made of.
        """
        for rows, covers in self._covered:
            digest = hashlib.sha256()
            for _ in range(rows):
                item = next(items, None)
                digest.update(b"" if item is None else _identity(item))
            if digest.hexdigest() != covers:
                what = "of other images than are there now: their names, sizes, times or order differ"
                raise OtherPartsError(self.folder, what)

    def add(self, items: Sequence[Item], rows: Sequence[Row]) -> None:
        """Take the answers to the next images; they are kept by `write`."""
        self._pending += rows
        for item in items:
            self._digest.update(_identity(item))

    @property
    def num_pending(self) -> int:
        return len(self._pending)

    def write(self) -> None:
        """Write what was added as the next part, whole."""
        if not self._pending:
            return
        table = _table(self._pending, self._schema)
        covers = self._digest.hexdigest()
        metadata = {**(self._schema.metadata or {}), _MADE_WITH: json.dumps(self._made_with), _COVERS: covers}
        with self._whole(self._path(len(self._covered))) as temporary:
            pq.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")
        self._covered.append((len(self._pending), covers))
        self._pending, self._digest = [], hashlib.sha256()

    def finish(self) -> int:
        """Write OUT of all parts, whole, and remove them; gives the number of rows with an error."""
        num_errors = 0
        with self._whole(self._out) as temporary, pq.ParquetWriter(temporary, self._schema, compression="zstd") as out:
            for group in self._row_groups():
                out.write_table(group, row_group_size=_ROW_GROUP)
                num_errors += len(group) - group["error"].null_count
        shutil.rmtree(self.folder, ignore_errors=True)
        return num_errors

    def _row_groups(self) -> Iterator[pa.Table]:
        """Yield all rows, so many at a time whatever the parts' sizes: equal answers make equal bytes."""
        held = self._schema.empty_table()
        for number in range(len(self._covered)):
            with pq.ParquetFile(self._path(number)) as file:
                part = file.read().replace_schema_metadata(self._schema.metadata)
            held = pa.concat_tables([held, part])
            while len(held) >= _ROW_GROUP:
                yield held.slice(0, _ROW_GROUP).combine_chunks()
                held = held.slice(_ROW_GROUP)
        if len(held):
            yield held.combine_chunks()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.parquet"

    @contextmanager
    def _whole(self, path: Path) -> Iterator[Path]:
        """Yield a path that takes its name once it is on the disk; beside the lock, whose holder alone writes there."""
        temporary = self.folder / f".{path.name}"
        try:
            with explained_writing(self._out, self.num_rows):
                yield temporary
                with temporary.open("rb+") as written:
                    os.fsync(written.fileno())
                temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([getattr(row, name) for row in rows], schema.field(name).type) for name in schema.names]
    return pa.Table.from_arrays(columns, schema=schema)


def _identity(item: Item) -> bytes:
    return f"{item.id}\0{item.stamp}\0\n".encode()


def _lock(file: IO[Any]) -> bool:
    """Lock a file until it is closed, or the process ends; where system or disk have no locks, take it for locked."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP):
            raise
    return True


@contextmanager
def explained_writing(out: Path, num_kept: int = 0) -> Iterator[None]:
    """Turn what the system says to a write into a sentence.

    Raises:
        OutputError: the disk is full, or the folder may not be written.
    """
    try:
        yield
    except OSError as error:
        kept = f" {num_kept} answers are kept; the same command goes on after them." if num_kept else ""
        reason = os.strerror(error.errno) if error.errno else error
        raise OutputError(f"{out} cannot be written: {reason} in {out.parent.absolute()}.{kept}") from error
