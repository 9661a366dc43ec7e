"""A row an answer, in Parquet files by the hour: what drift is looked for in. No images.

FOLDER/YYYY-MM-DD/HH-WHO.parquet (UTC), then HH-WHO-001.parquet and so on, where WHO is drawn by each process, since in
containers many have one number: each is written whole, at least once a
minute, so that a kill loses no more than that. A thread of its own measures and writes; where it falls behind, rows are
dropped and counted, and no answer waits.
"""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lightline_predict.errors import LightlineError
from lightline_predict.images import pixel_digest
from lightline_predict.measures import MEASURED, measure_pixels
from lightline_predict.serve.entries import Entry

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ms", "UTC")),
        ("digest", pa.string()),
        ("model", pa.string()),
        ("predicted", pa.string()),
        ("confidence", pa.float32()),
        ("accepted", pa.bool_()),
        ("probabilities", pa.list_(pa.float32())),
        ("embedding", pa.list_(pa.float32())),
        *((name, pa.float64()) for name in MEASURED),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
_SECONDS = 50  # between two files: a minute at most from an answer to its row
_ROWS = 10_000  # a file
_WAITING, _HELD = 4096, 2**27  # rows that wait to be measured, and bytes of their pixels
_logger = logging.getLogger("lightline_predict.serve")


class LogError(LightlineError):
    """The log's folder cannot be written to."""


class RequestLog:
    """Takes entries at once, and writes them in a thread."""

    def __init__(self, folder: Path, seconds: float = _SECONDS):
        """Make the folder; seconds: between two files.

        Raises:
            LogError: nothing can be written there.
        """
        self._folder, self._seconds, self._who = folder, seconds, secrets.token_hex(4)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (tried := folder / f".{self._who}").touch()
            tried.unlink()
        except OSError as error:
            raise LogError(f"--log {folder} cannot be written to: {error.strerror}.") from error
        self._queue: queue.Queue[Entry | None] = queue.Queue(_WAITING)
        self._put = self._measured = 0  # bytes of pixels: each is changed by one thread alone
        self._rows: list[tuple] = []
        self._since = 0.0
        self._told: Callable[[str, int], None] = lambda what, rows: None
        self._thread = threading.Thread(target=self._work, name="log")

    def start(self, told: Callable[[str, int], None]) -> None:
        """Take entries from now on; told: "written" or "dropped", and how many rows."""
        self._told = told
        self._thread.start()

    def add(self, entry: Entry) -> None:
        """Note an answer, or drop it where too many wait."""
        waiting = self._put - self._measured
        if waiting and waiting + entry.pixels.nbytes > _HELD:  # one alone may be as large as it is
            self._told("dropped", 1)
            return
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._told("dropped", 1)
        else:
            self._put += entry.pixels.nbytes

    def close(self) -> None:
        """Write what is there, and end."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            left = self._since + self._seconds - time.monotonic() if self._rows else None
            try:
                entry = self._queue.get(timeout=None if left is None else max(left, 0))
            except queue.Empty:
                self._write()
                continue
            if entry is None:
                return self._write()
            try:
                self._note(entry)
            except Exception:  # of one image; the thread goes on for all others
                _logger.exception("an answer is not in the log")
                self._told("dropped", 1)

    def _note(self, entry: Entry) -> None:
        self._measured += entry.pixels.nbytes
        row = _row(entry)
        if self._rows and _hour(self._rows[0]) != _hour(row):
            self._write()
        if not self._rows:
            self._since = time.monotonic()
        self._rows.append(row)
        if len(self._rows) >= _ROWS or time.monotonic() - self._since >= self._seconds:
            self._write()

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            table = pa.Table.from_arrays(
                [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)],
                schema=SCHEMA,
            )
            path = self._free(_hour(rows[0]))
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f".{path.name}")  # a reader of *.parquet passes over it
            pq.write_table(table, unfinished)
            unfinished.replace(path)
        except (OSError, pa.ArrowException) as error:
            _logger.error("%d rows of the log are lost: %s", len(rows), error)
            self._told("dropped", len(rows))
        else:
            self._told("written", len(rows))

    def _free(self, hour: str) -> Path:
        path, number = self._folder / f"{hour}-{self._who}.parquet", 0
        while path.exists():
            number += 1
            path = self._folder / f"{hour}-{self._who}-{number:03d}.parquet"
        return path


def _hour(row: tuple) -> str:
    return datetime.fromtimestamp(row[0] / 1000, UTC).strftime("%Y-%m-%d/%H")


def _row(entry: Entry) -> tuple:
    height, width, _ = entry.pixels.shape
    return (
        int(entry.time * 1000),
        pixel_digest(entry.pixels),
        entry.model,
        entry.predicted,
        entry.probabilities.max(),
        entry.accepted,
        entry.probabilities,
        entry.embedding,
        *measure_pixels(entry.pixels),
        width,
        height,
    )
