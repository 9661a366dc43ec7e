"""Locks of files: the kernel frees one when the last process that holds it has ended, however that was."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any


def lock(file: IO[Any] | int, *, wait: bool = False, shared: bool = False) -> bool:
    """Lock an open file, or its descriptor; gives whether it is locked, which after waiting it is.

    shared: beside others that share it, which does not keep them out.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def still_has_name(file: IO[Any], path: Path) -> bool:
    """Tell whether an open file is what lies under a name now: one that was renamed or deleted locks nothing there."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False
