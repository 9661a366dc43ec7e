"""What becomes of freed memory: a stage that trains keeps it for the next batch, one that reads columns does not."""

import ctypes
import sys

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1
_LARGE = 2**17  # bytes; glibc's own start


def keep_freed_memory() -> None:
    """Stop glibc from giving large blocks back to the system as soon as they are freed.

    It would get them back page by page, each cleared anew, which takes about a tenth of a training step on a CPU. Where
    the C library is another one, nothing happens.
    """
    _set({_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER})


def return_freed_memory() -> None:
    """Have glibc give every large block back to the system as soon as it is freed.

    Otherwise it takes up to 32 MiB for small as soon as a block of that size has been freed, and a column of the
    dataset that has been let go stays in the process below the next one. Where the C library is another one, nothing
    happens.
    """
    _set({_MMAP_THRESHOLD: _LARGE})


def _set(options: dict[int, int]) -> None:
    if sys.platform == "linux" and (set_option := getattr(ctypes.CDLL(None), "mallopt", None)):
        for option, value in options.items():
            set_option(option, value)
