"""Errors that a person can cause and mend, a full disk among them; any other exception is a bug, with its traceback."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightline_predict.errors import LightlineError

# What a file system says that takes no more, and what to do about it.
_NO_ROOM = {
    errno.ENOSPC: "Make room there",
    errno.EDQUOT: "Make room within your quota there",
    errno.EFBIG: "Raise the limit of a file's size (`ulimit -f`)",
}
_MORE = 2**16  # bytes; where a file did not fit, so many do not fit either


class ParameterError(LightlineError):
    """params.yaml holds a key, a type or a value that is not allowed."""


class DataError(LightlineError):
    """The source data cannot be used as they are."""


class NoRoomError(LightlineError):
    """A disk took no more of a file.

    needed: as in "10 bytes"; free: bytes that are there for it; code: what the system said, one of _NO_ROOM.
    """

    def __init__(self, path: Path, needed: str, free: int, code: int):
        super().__init__(
            f"{path} cannot be written: {os.strerror(code)}. It needs {needed}, and {free} bytes are free in "
            f"{path.parent.resolve()}. {_NO_ROOM[code]}, then give the same command again."
        )


class NoRoomSomewhereError(LightlineError):
    """A disk took no more of what is no output: a lock, a record, a library's own file.

    path: the file, where the system has named it; code: what the system said, one of _NO_ROOM.
    """

    def __init__(self, path: str | None, code: int):
        folders = [Path(path).parent] if path else [Path(), Path(tempfile.gettempdir()), Path.home()]
        free = ", ".join(f"{free_bytes(folder)} bytes in {folder.resolve()}" for folder in dict.fromkeys(folders))
        super().__init__(
            f"{path or 'A file'} cannot be written: {os.strerror(code)}. Free are {free}. {_NO_ROOM[code]}, then give "
            "the same command again."
        )


def some(names: Sequence[str], most: int) -> str:
    """Join the first names for a message, and say how many there are beside: "a, b and 3 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def some_lines(lines: Sequence[str], most: int, place: object = None) -> str:
    """Join lines as `some` joins names, each indented and begun by a line break; place: where all of them are."""
    others = f"\n  … and {len(lines) - most} more" + (f", all in {place}" if place else "")
    return "".join(f"\n  {line}" for line in lines[:most]) + (others if len(lines) > most else "")


@contextmanager
def explain_full_disk(path: Path | None = None, place: Path | None = None) -> Iterator[None]:
    """Turn a disk's refusal into a sentence.

    path: what is being written, by the name it will have, or None where that can be anything.
    place: the file or folder that it is written to.

    Raises:
        NoRoomError, NoRoomSomewhereError: the disk took no more.
    """
    try:
        yield
    except LightlineError:  # says already what was wrong
        raise
    except Exception as error:
        written = 0 if place is None else _num_bytes(place)
        if (code := no_room_code(error, place)) is None:
            raise
        if path is None:
            raise NoRoomSomewhereError(_file_of(error), code) from error
        needed = f"more than {written} bytes" if written else "more"
        # What is written of it will be removed, so that much is free for another attempt.
        raise NoRoomError(path, needed, free_bytes(path) + (0 if place is None else _num_bytes(place)), code) from error


def no_room_code(error: BaseException | None, place: Path | None = None) -> int | None:
    """Return the number of the system's error where a disk took no more, also inside a library's own error; else None.

    place: the file or folder that was being written. What writes in C (torch, Pillow, onnxruntime) keeps to itself what
    the system said, which is then asked for a little more there.
    """
    if refusal := _refusal(error):
        return refusal.errno
    return None if place is None else _code_of_more(place)


def check_room(path: Path, num_bytes: int) -> None:
    """Check that a disk has room for so many bytes.

    Raises:
        NoRoomError: the disk of `path` has not that many bytes left; better told before it is full than after.
    """
    if num_bytes > (free := free_bytes(path)):
        raise NoRoomError(path, f"{num_bytes} bytes", free, errno.ENOSPC)


def free_bytes(path: Path) -> int:
    """Find the room on the disk of a path, of which the last parts need not be there yet; in bytes."""
    there = next(part for part in (path, *path.absolute().parents) if part.exists())
    return shutil.disk_usage(there).free


def _refusal(error: BaseException | None) -> OSError | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return error
        error = error.__cause__ or error.__context__
    return None


def _file_of(error: BaseException) -> str | None:
    refusal = _refusal(error)
    return None if refusal is None or not isinstance(refusal.filename, str) else refusal.filename


def _code_of_more(place: Path) -> int | None:
    """Write a little more in a place, and return what the system says to it; None where it fits."""
    file = place / "more" if place.is_dir() else place
    try:
        with file.open("ab", buffering=0) as opened:
            for _ in range(2):  # what does not fit whole is taken in part, without an error
                opened.write(bytes(_MORE))
            os.fsync(opened.fileno())
    except OSError as error:
        return _refusal(error) and error.errno
    return None


def _num_bytes(place: Path) -> int:
    """Count the bytes of the file, or of all files below the folder; 0 where there is neither."""
    return sum(file.stat().st_size for file in (place, *place.rglob("*")) if file.is_file())
