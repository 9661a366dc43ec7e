"""What do download and split cost, beside reading and decoding the images once?

CIFAR-10 as JPEG in a tar.gz, whole stages as processes. The reference reads the archive's members and decodes them to
RGB with Pillow, in one process or with a pool of one for each core, whichever is faster. Rows: the download stage's own
code on up to a million 8×8 PNGs that are made up in memory, no two alike, decoded, digested and stored like any others;
then the split stage on the dataset that it left; each once, without a reference.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness import PAIRS, Cost, Row, in_turn, run_command
from benchmarks.images import fewer
from benchmarks.project import ROOT
from benchmarks.sources import cifar_archive

_TIMES = 3.0  # reading and decoding
_FLAT = 1.25  # of the memory for a quarter of the images
_LINEAR = 1.5  # of the CPU seconds a row for a tenth of the rows
_DOWNLOAD = (sys.executable, "-m", "stages.download")
_SPLIT = (sys.executable, "-m", "stages.split")


def run(quick: bool) -> list[Row]:
    """Measure time, memory, and time by the number of rows."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        whole, part = cifar_archive(), place / "part.tar.gz"
        if quick:
            return [_time(whole, place, 2), *_rows([1_000, 10_000], place)]
        fewer(whole, 4, part)
        memory = _memory({60_000: whole, 15_000: part}, place)
        return [_time(whole, place, PAIRS), *memory, *_rows([10_000, 100_000, 1_000_000], place)]


def _time(archive: Path, place: Path, pairs: int) -> Row:
    work = _stages(archive, place / "time")
    first = {number: _decode(archive, number) for number in (1, os.cpu_count() or 1)}
    fastest = min(first, key=lambda number: first[number].wall)
    found = in_turn(lambda: (work(_DOWNLOAD), work(_SPLIT)), lambda: _decode(archive, fastest), pairs, warm_up=False)
    ours, reference = found.seconds()
    ratio = found.ratio()
    judged = pairs == PAIRS  # of a few images, starting takes longer than the work
    num_images = json.loads((place / "time" / "data" / "dataset" / "dataset.json").read_text())["num_images"]
    return Row(
        f"download and split of {num_images:,} images, beside decoding them in {_processes(fastest)}",
        f"{ours:.1f} s",
        f"{reference:.1f} s",
        ratio,
        found.ratio("cpu"),
        f"at most {_TIMES:.0f} times as long" if judged else "",
        1 / ratio <= _TIMES if judged else None,
    )


def _processes(number: int) -> str:
    return "one process" if number == 1 else f"{number} processes"


def _memory(archives: dict[int, Path], place: Path) -> list[Row]:
    peaks = {}
    for number, archive in archives.items():
        work = _stages(archive, place / str(number))
        peaks[number] = [work(command).memory / 2**20 for command in (_DOWNLOAD, _SPLIT)]
    (many, large), (few, small) = peaks.items()
    return [
        Row(
            f"peak memory of {name}, {many:,} images beside {few:,}",
            f"{ours:.0f} MiB",
            f"{reference:.0f} MiB",
            reference / ours,
            None,
            f"at most {_FLAT} times as much",
            ours <= reference * _FLAT,
        )
        for name, ours, reference in zip(("download", "split"), large, small, strict=True)
    ]


def _rows(numbers: list[int], place: Path) -> list[Row]:
    costs: dict[str, list[Cost]] = {"download": [], "split": []}
    for number in numbers:
        folder = place / f"rows-{number}"
        work = _stages(place, folder)
        costs["download"].append(work((sys.executable, "-m", "benchmarks.images", "download", str(number))))
        costs["split"].append(work(_SPLIT))
        shutil.rmtree(folder)
    return [row for name, found in costs.items() for row in _by_number(name, numbers, found)]


def _by_number(name: str, numbers: list[int], costs: list[Cost]) -> list[Row]:
    """Make a row for each number of rows; the last is judged beside the one before, the first being mostly start."""
    each = [cost.cpu / number * 1e6 for number, cost in zip(numbers, costs, strict=True)]
    cells = [
        (f"{name} of {number:,} rows", f"{mean:.1f} µs of CPU a row, {cost.wall:.1f} s, {cost.memory / 2**20:.0f} MiB")
        for number, mean, cost in zip(numbers, each, costs, strict=True)
    ]
    *rows, (what, ours) = cells
    met = each[-1] <= each[-2] * _LINEAR
    asked = f"at most {_LINEAR} times as long a row"
    last = Row(f"{what}, beside {numbers[-2]:,}", ours, f"{each[-2]:.1f} µs", None, each[-2] / each[-1], asked, met)
    return [*(Row(*row) for row in rows), last]


def _stages(archive: Path, folder: Path) -> Callable[[tuple[str, ...]], Cost]:
    """Run commands in a new folder whose params.yaml names the archive."""
    folder.mkdir()
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_bytes())
    params["data"] = yaml.safe_load((ROOT / "conf" / "data" / "folder.yaml").read_bytes()) | {"path": str(archive)}
    params["split"] = yaml.safe_load((ROOT / "conf" / "split" / "stratified.yaml").read_bytes())
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return lambda command: run_command(command, folder, PYTHONPATH=str(ROOT))


def _decode(archive: Path, num_processes: int) -> Cost:
    return run_command((sys.executable, "-m", "benchmarks.images", "decode", str(archive), str(num_processes)), ROOT)
