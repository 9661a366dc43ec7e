"""Files that are whole or not there, and the same bytes for the same content."""

import csv
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from lightline.errors import explain_full_disk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ABANDONED = 60.0  # seconds without a change


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it takes that name on success and is removed on failure.

    Raises:
        NoRoomError: the disk took no more; what stood under the name is as it was.
    """
    # The suffix stays last: writers (matplotlib, pyarrow) choose a format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with explain_full_disk(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear_leftovers(path, f".{path.stem}.", path.suffix)
            yield temporary
            _flush(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Like `whole_file`, for a folder; what stood under the name before is replaced."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    before = path.with_name(f".{path.name}.{os.getpid()}.before")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with explain_full_disk(path, temporary):
            temporary.mkdir(parents=True)
            for end in ("", ".before"):
                _clear_leftovers(path, f".{path.name}.", end)
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            # Moved away in one step: a kill while it is deleted file by file must not leave a part under the name.
            if path.exists():
                path.replace(before)
            try:
                temporary.replace(path)
            except OSError:
                if before.exists():
                    before.replace(path)
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


@contextmanager
def temporary_files_beside(path: Path) -> Iterator[None]:
    """Have libraries put what they write on the way to `path` into a folder beside it, not onto the disk of $TMPDIR."""
    folder, before = path.with_name(f".{path.stem}.{os.getpid()}.work"), tempfile.tempdir
    _clear_leftovers(path, f".{path.stem}.", ".work")
    folder.mkdir(parents=True)
    tempfile.tempdir = str(folder.resolve())
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def _clear_leftovers(path: Path, begin: str, end: str) -> None:
    """Delete what processes that were killed have left beside a path: names of a beginning, their number and an end."""
    for left in path.parent.glob(f"{glob.escape(begin)}*{glob.escape(end)}"):
        pid = left.name[len(begin) : len(left.name) - len(end)]
        if not pid.isdecimal() or psutil.pid_exists(int(pid)):
            continue
        with suppress(FileNotFoundError):  # another process clears too
            # Not where the process is of another machine that shares the disk, and may be writing.
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _flush(file: Path) -> None:
    """Bring a file onto the disk; some disks say only now that they are full."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def json_text(content: Any) -> str:
    """Write content as JSON in the order given, indented, ending in a newline."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Write a file of JSON, as `json_text` makes it."""
    with whole_file(path) as temporary:
        temporary.write_text(json_text(content), encoding="utf-8")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write CSV with a header line and Unix line ends."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def save_figure(figure: "Figure", path: Path) -> None:
    """Save a figure as PNG, without pyplot, which keeps state from one to the next; equal figures make equal bytes."""
    with whole_file(path) as temporary, warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes; that costs nobody a result.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # Without metadata: the name and version of the library would make other bytes of the same figure.
        figure.savefig(temporary, dpi=100, metadata={"Software": None})


def file_digest(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(content: Any) -> str:
    """Compute the SHA-256 of a JSON-like value, independent of the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
