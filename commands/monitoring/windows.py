"""The windows that images are compared in: of a log by time or by count, of a folder by count or two halves of it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from commands.monitoring.images import COLUMNS, Folder, Images, from_table
from lightline.errors import DataError, some

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_HOUR = 3_600_000  # milliseconds, in which a log has its times
_MOST = 10_000  # images of a window that are compared, at random where there are more
_SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ms", "UTC")),
        ("model", pa.string()),
        ("probabilities", pa.list_(pa.float32())),
        ("embedding", pa.list_(pa.float32())),
        *((name, pa.float64()) for name in ("brightness", "contrast", "sharpness")),
        *((side, pa.int32()) for side in ("width", "height")),
    ]
)


@dataclass(frozen=True)
class Window:
    """Images that stand together. name: when they came, or which they are. images: how many; read: gives these, or
    _MOST of them."""

    name: str
    images: int
    read: Callable[[], Images]


@dataclass
class Windows:
    """Windows in their order, the latest last; notes: what was left out, in sentences."""

    windows: list[Window]
    notes: list[str] = field(default_factory=list)


def is_log(folder: Path) -> bool:
    """Tell whether a folder holds a log of `lightline-predict serve --log`."""
    return any(_DAY.fullmatch(file.parent.name) for file in folder.glob("*/*.parquet"))


def of_log(folder: Path, model: str, hours: float, count: int | None, most: int) -> Windows:
    """Divide a log into the latest windows, at most `most`.

    model: fingerprint; rows of others are left out. hours: of a window. count: rows of a window, in place of hours.

    Raises:
        DataError: a file is of another kind.
    """
    notes: list[str] = []
    # A window by count may reach back as far as it likes.
    files = _readable(_files(folder, None if count else most * hours), notes)
    if not files:
        return Windows([], notes)
    rows = ds.dataset([str(file) for file in files], schema=_SCHEMA, format="parquet")
    index = rows.to_table(["time", "model"])
    own = np.flatnonzero(index["model"].to_numpy() == model)
    if left := len(index) - len(own):
        notes.append(f"{left:,} rows are of other models, and were left out")
    times = index["time"].cast(pa.int64()).to_numpy()[own]
    order = np.argsort(times, kind="stable")
    own, times = own[order], times[order]
    parts = _by_count(times, count, notes) if count else _by_time(times, hours, notes)
    return Windows(
        [Window(name, len(own[part]), _reader(rows, own[part])) for name, part in list(parts)[-most:]], notes
    )


def _files(folder: Path, hours: float | None) -> list[Path]:
    """List the files of the log, or those of the days that so many hours before the last one reach."""
    days = sorted(day for day in folder.iterdir() if _DAY.fullmatch(day.name))
    if hours is not None:
        begin = datetime.fromisoformat(days[-1].name) - timedelta(hours=min(hours, 10**6), days=2)
        days = [day for day in days if day.name >= begin.strftime("%Y-%m-%d")]
    return [file for day in days for file in sorted(day.glob("[!.]*.parquet"))]


def _readable(files: list[Path], notes: list[str]) -> list[Path]:
    """Leave out what is damaged.

    Raises:
        DataError: one has not the columns of a log.
    """
    damaged, found = [], []
    for file in files:
        try:
            names = set(pq.read_schema(file).names)
        except (pa.ArrowInvalid, OSError):
            damaged.append(str(file))
            continue
        if missing := [name for name in _SCHEMA.names if name not in names and name != "embedding"]:
            raise DataError(f"{file} is no log of `lightline-predict serve --log`: it has no column {missing[0]!r}.")
        found.append(file)
    if damaged:
        notes.append(f"{len(damaged)} files are damaged, and were left out: {some(damaged, 3)}")
    return found


def _by_time(times: np.ndarray, hours: float, notes: list[str]) -> Iterator[tuple[str, slice]]:
    """Divide by the clock, from 1970 on; what is not over yet may still become otherwise."""
    span = max(1, round(hours * _HOUR))
    now = datetime.now(UTC).timestamp() * 1_000
    closed = times[times // span * span + span <= now]
    if left := len(times) - len(closed):
        notes.append(f"{left:,} rows are of the window that is not over yet, and were left out")
    if not len(closed):
        return
    starts, begins = np.unique(closed // span, return_index=True)
    for start, begin, end in zip(starts.tolist(), begins, [*begins[1:], len(closed)], strict=True):
        yield _moment(start * span), slice(begin, end)


def _by_count(times: np.ndarray, count: int, notes: list[str]) -> Iterator[tuple[str, slice]]:
    if left := len(times) % count:
        notes.append(f"the last {left:,} rows make no window of {count:,} yet, and were left out")
    for begin in range(0, len(times) - count + 1, count):
        yield _moment(int(times[begin])), slice(begin, begin + count)


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _reader(rows: ds.Dataset, numbers: np.ndarray) -> Callable[[], Images]:
    chosen = numbers
    if len(numbers) > _MOST:
        chosen = np.random.default_rng(len(numbers)).choice(numbers, _MOST, replace=False)
    return lambda: from_table(rows.take(pa.array(np.sort(chosen)), columns=list(COLUMNS)))


def of_folder(folder: Folder, count: int | None) -> Windows:
    """Divide a folder's images by count, in the order of their paths, or at random in two.

    A folder has no times: it is one sample, and two halves of it have to show a difference as two windows would.
    """
    images, total = folder.images, len(folder.files)
    notes = [f"{len(folder.unread)} files cannot be read: {some(folder.unread, 3)}"] if folder.unread else []
    if count is None:
        order = np.random.default_rng(0).permutation(total)
        halves = zip(("one half", "the other half"), np.array_split(order, 2), strict=True)
        return Windows([_window(name, images, np.sort(rows)) for name, rows in halves], notes)
    if left := total % count:
        notes.append(f"the last {left:,} images make no window of {count:,}, and were left out")
    begins = range(0, total - count + 1, count)
    return Windows(
        [_window(f"images {one + 1} to {one + count}", images, np.arange(one, one + count)) for one in begins], notes
    )


def _window(name: str, images: Images, rows: np.ndarray) -> Window:
    return Window(name, len(rows), lambda: images.take(rows))
