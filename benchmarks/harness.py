"""Measuring two ways of doing the same on a machine that others use too.

What counts is a ratio: A and B run in turn, in one process or command after the other, and the median of the pairs'
ratios is given, with CPU seconds beside, which a busy neighbour changes less than wall time.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
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
    """Seconds of one run: by the clock, and of this process's and its finished children's CPU.

    memory: bytes, the most that were resident; known of a whole process alone, else 0.
    """

    wall: float
    cpu: float
    memory: int = 0


@dataclass(frozen=True)
class Pairs:
    """Costs of A and B, run in turn."""

    ours: Sequence[Cost]
    reference: Sequence[Cost]

    def ratio(self, kind: str = "wall") -> float:
        """Compute the median over the pairs of reference / ours: how many times sooner ours is done."""
        pairs = zip(self.ours, self.reference, strict=True)
        return statistics.median(getattr(theirs, kind) / getattr(own, kind) for own, theirs in pairs)

    def seconds(self, kind: str = "wall") -> tuple[float, float]:
        """Compute the medians of ours and of the reference."""
        return median_of(self.ours, kind), median_of(self.reference, kind)


def median_of(costs: Sequence[Cost], kind: str = "wall") -> float:
    return statistics.median(getattr(cost, kind) for cost in costs)


def measure(work: Callable[[], Any]) -> Cost:
    """Run it once; work that measures itself gives its Cost."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    result = work()
    if isinstance(result, Cost):
        return result
    return Cost(time.perf_counter() - wall, _cpu_seconds() - cpu)


# Linux counts what a process was before it became another program into that program's most resident memory; so a small
# process starts it.
_START = """
import json, os, sys, time
started = time.perf_counter()
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
_, status, usage = os.wait4(process, 0)
print(json.dumps([time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, status]))
"""


def run_command(command: Sequence[str], folder: Path, **variables: str) -> Cost:
    """Run a program in a folder once, from its start to its end; variables: added to the environment.

    command: its full path or a name found on PATH, then its arguments.

    Raises:
        RuntimeError: the program failed; with what it printed to stderr.
    """
    environment = {**os.environ, **variables}
    program = shutil.which(command[0], path=environment["PATH"]) or command[0]
    started = (sys.executable, "-S", "-c", _START, program, *command[1:])
    done = subprocess.run(started, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    wall, cpu, memory, status = json.loads(done.stdout)
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise RuntimeError(f"{' '.join(command)} ended with status {code}:\n{done.stderr}")
    return Cost(wall, cpu, memory if sys.platform == "darwin" else memory * 1024)


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


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime  # os.times goes by hundredths of a second
