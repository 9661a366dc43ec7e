"""How many requests a second does `lightline-predict serve` answer, beside LitServe and plain starlette?

The digits' file and ResNet-18 for 32×32 pixels, one PNG a request as base64 in JSON, connections that stay open, asked
by a process of its own (benchmarks/load.py). LitServe batches as its manual has it (one worker, at most 64 images, 2
ms), starlette runs an image at a time in a thread; both read images and run the session by `lightline_predict`, and all
three stand on uvicorn with httptools and uvloop. They are asked in turn, several rounds. "At equal p99": the most
requests a second, over the numbers of connections, for which the 99th percentile is no more than the better peer's
where that answers most. CPU is that of the server's processes a request: a busy machine changes it less.
"""

import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.harness import Row
from benchmarks.peer_environment import MissingPeersError, peers_python
from benchmarks.resnet import pixels, write_resnet18
from benchmarks.settings import ROOT
from benchmarks.sources import MissingDataError
from lightline_predict import images

_CONNECTIONS = (1, 4, 16, 64)
_ROUNDS, _SECONDS, _WARM_UP = 3, 3.0, 0.5
_BATCH = 64
_TARGET = 1.5
_OURS, _PEERS = "lightline-predict serve", ("LitServe", "starlette")
_DIGITS = ROOT / "models" / "model.onnx"
_STARTING = 120  # seconds

Found = dict[str, float]


def run(quick: bool) -> list[Row]:
    """Return the rows of each file: requests a second at equal p99, by connections, the start and the memory."""
    if not _DIGITS.is_file():
        raise MissingDataError("needs models/model.onnx: `dvc repro`, then make bench")
    try:
        python = peers_python()
    except MissingPeersError as error:
        return [Row("requests a second", "not asked", str(error), target=f"at least {_TARGET:g}")]
    with tempfile.TemporaryDirectory() as folder:
        files = {"digits": (_DIGITS, np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))}
        files["ResNet-18"] = (write_resnet18(Path(folder)).fp32, pixels(1)[0])
        rows = []
        for name, (file, picture) in files.items():
            body = Path(folder, "body.json")
            encoded = base64.b64encode(images.encode(picture)).decode()
            body.write_text(json.dumps({"image": encoded}), encoding="utf-8")
            rows += _rows(name, _measured(python, file, body, quick))
        return rows


def _measured(python: Path, model: Path, body: Path, quick: bool) -> dict[tuple[str, int], list[Found]]:
    """Ask each server with each number of connections, in turn; by server and connections, a result a round."""
    found: dict[tuple[str, int], list[Found]] = defaultdict(list)
    for number in range(1 if quick else _ROUNDS):
        sides = (_OURS, *_PEERS) if number % 2 == 0 else (*reversed(_PEERS), _OURS)
        for side in sides:
            with _serving(side, python, model, body) as (process, port, start):
                _load(port, body, _CONNECTIONS[-1], _WARM_UP)
                for connections in _CONNECTIONS:
                    before = _cpu(process)
                    said = _load(port, body, connections, 1.0 if quick else _SECONDS)
                    speed, tail = said["per_second"], said["p99"]
                    print(f"{side}, {connections} connections: {speed:.0f} a second, p99 {tail:.1f} ms", flush=True)
                    cost = (_cpu(process) - before) / max(said["answered"], 1)
                    memory = sum(one.memory_info().rss for one in _tree(process))
                    found[side, connections].append(said | {"cpu": cost, "start": start, "memory": memory})
    return found


def _rows(name: str, found: dict[tuple[str, int], list[Found]]) -> list[Row]:
    def median(side: str, connections: int, what: str) -> float:
        return statistics.median(one[what] for one in found[side, connections])

    def most(side: str, p99: float = float("inf")) -> tuple[float, float]:
        """Give the most requests a second within a 99th percentile, and the one that they had."""
        reached = [(median(side, many, "per_second"), median(side, many, "p99")) for many in _CONNECTIONS]
        return max((one for one in reached if one[1] <= p99), default=(0.0, 0.0))

    better = max(_PEERS, key=lambda side: most(side)[0])
    reference, p99 = most(better)
    ours, own_p99 = most(_OURS, p99)
    rows = [
        Row(
            what=f"{name}: requests a second at equal p99, beside the better peer ({better})",
            ours=f"{ours:.0f} (p99 {own_p99:.1f} ms)",
            reference=f"{reference:.0f} (p99 {p99:.1f} ms)",
            ratio=ours / reference,
            target=f"at least {_TARGET:g}",
            met=ours / reference >= _TARGET,
        )
    ]
    for peer in _PEERS:
        rows += [_at(name, peer, many, found[_OURS, many], found[peer, many]) for many in _CONNECTIONS]
        for what, unit, text in (("start", 1, "s from the start to the first answer"), ("memory", 1e6, "MB resident")):
            own, theirs = (median(side, _CONNECTIONS[-1], what) / unit for side in (_OURS, peer))
            rows.append(Row(f"{name}: {text}, beside {peer}", f"{own:.1f}", f"{theirs:.1f}", theirs / own))
    return rows


def _at(name: str, peer: str, connections: int, ours: list[Found], theirs: list[Found]) -> Row:
    speed, tail, cpu, failed = (
        [statistics.median(one[what] for one in rounds) for rounds in (ours, theirs)]
        for what in ("per_second", "p99", "cpu", "failed")
    )
    texts = [
        f"{speed[side]:.0f} a second, p99 {tail[side]:.1f} ms, CPU {cpu[side] * 1e3:.2f} ms, {failed[side]:.0f} failed"
        for side in (0, 1)
    ]
    what = f"{name}: {connections} connections, beside {peer}"
    return Row(what, texts[0], texts[1], speed[0] / speed[1], cpu[1] / cpu[0])


@contextmanager
def _serving(side: str, python: Path, model: Path, body: Path) -> Iterator[tuple[psutil.Process, int, float]]:
    """Serve on a free port until the end of the block; gives the process, the port, and the seconds to an answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scripts = ROOT / "benchmarks" / "peers"
    command = {
        _OURS: ("-m", "lightline_predict", "serve", model, "--port", port, "--max-batch", _BATCH),
        "LitServe": (scripts / "litserve_serving.py", port, model, _BATCH),
        "starlette": (scripts / "starlette_serving.py", port, model),
    }[side]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [str(python), *map(str, command)], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _first_answer(process, port, body)
        yield psutil.Process(process.pid), port, time.perf_counter() - started
    finally:
        for one in (tree := _tree(psutil.Process(process.pid))):
            one.terminate()
        process.wait(30)
        psutil.wait_procs(tree[1:], 30)


def _first_answer(process: subprocess.Popen[bytes], port: int, body: Path) -> None:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict", body.read_bytes(), {"content-type": "application/json"}
    )
    end = time.monotonic() + _STARTING
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(asked, timeout=_STARTING):
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args} does not answer")


def _load(port: int, body: Path, connections: int, seconds: float) -> dict[str, Any]:
    command = (sys.executable, "-S", str(ROOT / "benchmarks/load.py"), str(port), "/predict", str(body))
    done = subprocess.run((*command, str(connections), str(seconds)), check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in _tree(process))
