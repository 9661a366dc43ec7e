"""The memory that this process may still take, by its container's limit too."""

from collections.abc import Iterator
from contextlib import suppress

from lightline_predict.machine import control_groups


def free_memory() -> int:
    """Count the bytes that this process may still take: of the machine's, and of what its container may have."""
    import psutil

    return max(0, min([psutil.virtual_memory().available, *_left()]))


def _left() -> Iterator[int]:
    """Yield what is left of the limits in bytes; the files that the system keeps in memory make room."""
    for group in control_groups():
        with suppress(OSError, ValueError):  # "max": none
            most, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
            kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            yield most - used + int(kept.get("inactive_file", 0))
