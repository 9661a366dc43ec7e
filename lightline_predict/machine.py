"""What this process may use of its machine: its cores, by its container's limits too, and where those stand."""

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


def _quotas() -> Iterator[int]:
    """Yield the limits in cores, rounded up."""
    for group in control_groups():
        with suppress(OSError, ValueError):  # "max": none
            quota, period = (group / "cpu.max").read_text().split()
            yield math.ceil(int(quota) / int(period))


def control_groups() -> Iterator[Path]:
    """Yield the control group (version 2) of this process and those above it; none where there are none."""
    with suppress(OSError, ValueError, StopIteration):
        _, _, path = next(line for line in _MEMBERSHIP.read_text().splitlines() if line.startswith("0::")).split(":", 2)
        inner = Path(path.lstrip("/"))
        yield from (_CGROUP / group for group in (inner, *inner.parents))
