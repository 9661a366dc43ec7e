"""Does training collapse beside two other busy processes?

The tutorial's CNN in float32 at batches of 32, as the stage sets up its threads (OMP_WAIT_POLICY=PASSIVE) and as torch
does by default, each in a process of its own that waits while the other trains, on a quiet machine and beside two
processes that compute without end.
"""

import contextlib
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.harness import PAIRS, Row
from benchmarks.settings import ROOT

_SECONDS = 1.0
_STAGE, _DEFAULT = "from lightline.runtime.stage import run_stage\n", ""
_PROGRAM = """
import sys, time, torch
from lightline.models.build import cnn
network, images, labels = cnn(32, 10), torch.randn(32, 3, 32, 32), torch.randint(10, (32,))
optimizer = torch.optim.Adam(network.parameters())
def step():
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    optimizer.step()
for _ in sys.stdin:
    for _ in range(2): step()
    started, steps = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < {seconds}:
        step()
        steps += 1
    print(32 * steps / passed, flush=True)
"""


def run(quick: bool) -> list[Row]:
    pairs = 2 if quick else PAIRS
    rows = []
    with _training(_STAGE) as stage, _training(_DEFAULT) as torch_s:
        for what, neighbours in (("quiet", 0), ("beside two busy processes", 2)):
            with _busy(neighbours):
                found = [(_speed(stage), _speed(torch_s)) for _ in range(pairs + 1)][1:]  # the first warms up
            rows.append(_row(what, found, judged=neighbours > 0))
    return rows


def _row(what: str, found: list[tuple[float, float]], judged: bool) -> Row:
    ours, default = (statistics.median(speeds) for speeds in zip(*found, strict=True))
    ratio = statistics.median(mine / theirs for mine, theirs in found)
    target, met = ("no collapse: at least torch's default", ratio >= 1) if judged else ("", None)
    return Row(f"images a second, {what}", f"{ours:,.0f}", f"{default:,.0f}", ratio, target=target, met=met)


@contextlib.contextmanager
def _training(start: str) -> Iterator[subprocess.Popen]:
    """Start a process that begins with this line and trains when asked."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    program = start + _PROGRAM.format(seconds=_SECONDS)
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, bufsize=1) as process:
        yield process


def _speed(process: subprocess.Popen) -> float:
    """Have a process train, and read its speed in images a second."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(file=process.stdin)
    return float(process.stdout.readline())


@contextlib.contextmanager
def _busy(num_processes: int) -> Iterator[None]:
    neighbours = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(num_processes)]
    for process in neighbours:
        process.start()
    try:
        yield
    finally:
        for process in neighbours:
            process.kill()
            process.join()


def _compute() -> None:
    until = time.monotonic() + 3600
    while time.monotonic() < until:
        sum(range(100_000))
