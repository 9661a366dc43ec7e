"""Measuring two ways of doing the same on a machine that others use too.

What counts is a ratio: A and B run in turn, in one process or command after the other, and the median of the pairs'
ratios is given, with CPU seconds beside, which a busy neighbour changes less than wall time.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PAIRS = 7


@dataclass(frozen=True)
class Row:
    """A line of the result table.

    what: the quantity, with its unit. ours, reference: its medians, as text. ratio: the median of the pair ratios.
    target: what was asked, as text; met: whether it holds, None where nothing was asked.
    """

    what: str
    ours: str
    reference: str = ""
    ratio: float | None = None
    cpu_ratio: float | None = None
    target: str = ""
    met: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Cost:
    """One run: seconds by the clock and of CPU, of this process's and its finished children's; for a command, its own.

    memory: the most that a command or a program it started held, in MiB.
    """

    wall: float
    cpu: float
    memory: float | None = None


@dataclass(frozen=True)
class Pairs:
    """Costs of A and B, run in turn."""

    ours: Sequence[Cost]
    reference: Sequence[Cost]

    def ratio(self, kind: str = "wall") -> float:
        """Median over the pairs of reference / ours: how many times sooner ours is done."""
        pairs = zip(self.ours, self.reference, strict=True)
        return statistics.median(getattr(theirs, kind) / getattr(own, kind) for own, theirs in pairs)

    def seconds(self, kind: str = "wall") -> tuple[float, float]:
        """Medians of ours and of the reference."""
        return median_of(self.ours, kind), median_of(self.reference, kind)


def median_of(costs: Sequence[Cost], kind: str = "wall") -> float:
    return statistics.median(getattr(cost, kind) for cost in costs)


def measure(work: Callable[[], Any]) -> Cost:
    """Run it once."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    work()
    return Cost(time.perf_counter() - wall, _cpu_seconds() - cpu)


def in_turn(ours: Callable[[], Any], reference: Callable[[], Any], pairs: int = PAIRS, warm_up: bool = True) -> Pairs:
    """Run both in turn, the first one changing from pair to pair; warm_up: once before it counts."""
    if warm_up:
        ours()
        reference()
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for number in range(pairs):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for side in order:
            costs[side].append(measure((ours, reference)[side]))
    return Pairs(*costs)


def run_command(command: Sequence[str], folder: Path, **variables: str) -> Cost:
    """Run a program to its end.

    folder: it works in. variables: added to the environment. To the kernel, the process that starts a program has its
    memory too, for a moment: it must be smaller than what it measures.

    Raises:
        RuntimeError: the program failed; with what it printed.
    """
    with tempfile.TemporaryFile() as output:
        wall = time.perf_counter()
        environment = {**os.environ, **variables}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - wall
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            told = output.read().decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}:\n{told}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # Linux counts in KiB
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
