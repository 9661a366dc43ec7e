"""What this process may use of its machine: cores and memory, by its container's limits too."""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def num_cores() -> int:
    """Count the cores that this process may use: by its affinity, and by the limit of its container."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min([cores, *_quotas()]))


def free_memory() -> int:
    """Count the bytes that this process may still take: of the machine's, and of what its container may have."""
    import psutil

    return max(0, min([psutil.virtual_memory().available, *_left()]))


def _quotas() -> Iterator[int]:
    """Yield the limits in cores, rounded up."""
    for group in _control_groups():
        with suppress(OSError, ValueError):  # "max": none
            quota, period = (group / "cpu.max").read_text().split()
            yield math.ceil(int(quota) / int(period))


def _left() -> Iterator[int]:
    """Yield what is left of the limits in bytes; the files that the system keeps in memory make room."""
    for group in _control_groups():
        with suppress(OSError, ValueError):  # "max": none
            most, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
            kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            yield most - used + int(kept.get("inactive_file", 0))


def _control_groups() -> Iterator[Path]:
    """Yield the control group (version 2) of this process and those above it."""
    with suppress(OSError, ValueError, StopIteration):
        _, _, path = next(line for line in _MEMBERSHIP.read_text().splitlines() if line.startswith("0::")).split(":", 2)
        inner = Path(path.lstrip("/"))
        yield from (_CGROUP / group for group in (inner, *inner.parents))
