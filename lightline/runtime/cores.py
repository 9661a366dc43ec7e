"""The trainings that share this machine's cores.

A training holds the lock of a file in a folder of the machine, which the kernel frees when its process ends, however
that was: other clones, workspaces and users count the locks that are held. The files stay, as few as trainings ever ran
at once.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from lightline.runtime.locks import lock
from lightline.runtime.ranks import local_rank


@contextmanager
def counted_training() -> Iterator[None]:
    """Be counted among the trainings of this machine; of a distributed one, the first process of a machine is."""
    held = _take_lock() if local_rank() == 0 else None
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def num_trainings() -> int:
    """Count the trainings that run on this machine now, of all whose locks this user may see."""
    return sum(_is_held(path) for path in _folder().glob("*.lock"))


def _folder() -> Path:
    # Not the home folder, which other machines may share.
    return Path(tempfile.gettempdir(), "lightline-trainings")


def _take_lock() -> int | None:
    """Take the first lock that is free, by its descriptor; None where the system gives none: it then is not counted."""
    try:
        _folder().mkdir(exist_ok=True)
        with suppress(PermissionError):  # of another user, who has done so
            _folder().chmod(0o1777)
        for number in count():
            descriptor = _open(_folder() / f"{number}.lock")
            if lock(descriptor):
                return descriptor
            os.close(descriptor)
    except OSError:
        return None


def _open(path: Path) -> int:
    # To read is enough for a lock. Some systems refuse O_CREAT for another user's file in such a folder.
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CREAT, 0o644)


def _is_held(path: Path) -> bool:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            return not lock(descriptor, shared=True)  # two that look do not see each other
        finally:
            os.close(descriptor)
    return False
