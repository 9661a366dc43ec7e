"""Files that are whole or not there, and the same bytes for the same content."""

import csv
import errno
import glob
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from lightline.errors import LightlineError

_ABANDONED = 60.0  # seconds without a change

# What a file system says that takes no more, and what to do about it.
_NO_ROOM = {
    errno.ENOSPC: "Make room there",
    errno.EDQUOT: "Make room within your quota there",
    errno.EFBIG: "Raise the limit of a file's size (`ulimit -f`)",
}


class NoRoomError(LightlineError):
    """A disk took no more of a file.

    needed: as in "10 bytes"; free: bytes that are there for it; code: what the system said, one of _NO_ROOM.
    """

    def __init__(self, path: Path, needed: str, free: int, code: int):
        super().__init__(
            f"{path} cannot be written: {os.strerror(code)}. It needs {needed}, and {free} bytes are free in "
            f"{path.parent.resolve()}. {_NO_ROOM[code]}, then give the same command again."
        )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes that name on success and is removed on failure.

    Raises:
        NoRoomError: the disk took no more; what stood under the name is as it was.
    """
    # The suffix stays last: writers (matplotlib, pyarrow) choose a format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with _told_if_full(path, temporary):
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
        with _told_if_full(path, temporary):
            temporary.mkdir(parents=True)
            for end in ("", ".before"):
                _clear_leftovers(path, f".{path.name}.", end)
            yield temporary
            for file in _files(temporary):
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


def still_has_name(file: IO[Any], path: Path) -> bool:
    """Whether an open file is what lies under a name now: one that was renamed or deleted locks nothing there."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def no_room_code(error: BaseException | None) -> int | None:
    """The number of the system's error where a disk took no more, also inside a library's own error; else None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def check_room(path: Path, num_bytes: int) -> None:
    """
    Raises:
        NoRoomError: the disk of `path` has not that many bytes left; better told before it is full than after.
    """
    if num_bytes > (free := free_bytes(path)):
        raise NoRoomError(path, f"{num_bytes} bytes", free, errno.ENOSPC)


def free_bytes(path: Path) -> int:
    """Room on the disk of a path, of which the last parts need not be there yet."""
    there = next(part for part in (path, *path.absolute().parents) if part.exists())
    return shutil.disk_usage(there).free


@contextmanager
def _told_if_full(path: Path, temporary: Path) -> Iterator[None]:
    try:
        yield
    except LightlineError:  # says already what was wrong
        raise
    except Exception as error:
        if (code := no_room_code(error)) is None:
            raise
        written = sum(file.stat().st_size for file in _files(temporary))
        # What is written of it will be removed, so that much is free for another attempt.
        raise NoRoomError(path, f"more than {written} bytes", free_bytes(path) + written, code) from error


def _files(path: Path) -> list[Path]:
    """The file, or the files below the folder; none where there is neither."""
    return [file for file in (path, *path.rglob("*")) if file.is_file()]


def _flush(file: Path) -> None:
    """Onto the disk; some say only now that they are full."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def json_text(content: Any) -> str:
    """JSON in the order given, indented, ending in a newline."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, content: Any) -> None:
    """A file of JSON, as `json_text` makes it."""
    with whole_file(path) as temporary:
        temporary.write_text(json_text(content), encoding="utf-8")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """CSV with a header line and Unix line ends."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(content: Any) -> str:
    """SHA-256 of a JSON-like value, independent of the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
