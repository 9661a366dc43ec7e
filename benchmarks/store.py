"""A data set that does not fit into memory: do workers decode as fast as the decoder alone, and does memory stay flat?

Two workers decode training batches from the memory-mapped store, against two processes that do nothing but decode the
same images. Memory is that of the process with the most of it, for an epoch over CIFAR-10 (JPEG) and over the same
images ten times; `anonymous` leaves out the pages of the mapped file, which the system takes back when it needs them.
"""

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Row as Result
from benchmarks.harness import in_turn, run_command
from benchmarks.settings import ROOT
from benchmarks.sources import cifar_project
from lightline.data.dataset import DATASET, Dataset, Row, write_dataset
from lightline.models.transforms import CropAndResize
from lightline.runtime.allocator import keep_freed_memory
from stages.train.datamodule import EpochBatches
from stages.train.image_sets import ImageDataset
from stages.train.shared_batches import DecodedBatches

_BATCH, _WORKERS, _REPEATS = 512, 2, 10
_SHARE, _FLAT = 0.95, 1.1


def run(quick: bool) -> list[Result]:
    project = cifar_project()
    keep_freed_memory()  # as ImageDataModule does, on both sides
    dataset = project / DATASET
    num_images = len(Dataset(dataset))
    pairs = in_turn(lambda: _epoch(dataset, num_images), lambda: _decode(dataset, num_images), pairs=2 if quick else 7)
    ours, alone = (num_images / seconds for seconds in pairs.seconds())
    # Starting two processes takes longer than decoding a few images.
    target, met = ("", None) if quick else (f"at least {_SHARE}", pairs.ratio() >= _SHARE)
    rows = [
        Result("images a second, decoded by two workers, against two decoders", f"{ours:,.0f}", f"{alone:,.0f}",
               pairs.ratio(), pairs.ratio("cpu"), target, met)
    ]  # fmt: skip
    return rows if quick else [*rows, _memory(project)]


def _epoch(folder: Path, num_images: int) -> None:
    dataset = Dataset(folder)
    pictures = ImageDataset(dataset, np.arange(num_images), CropAndResize(32, 1.0))
    batches = EpochBatches(num_images, _BATCH, 0, 0, 1, drop_last=False)
    for _ in DecodedBatches(pictures, batches, _BATCH, _WORKERS):
        pass


def _decode(folder: Path, num_images: int) -> None:
    order = np.random.default_rng(0).permutation(num_images)
    context = multiprocessing.get_context("fork")
    with context.Pool(_WORKERS) as pool:
        pool.starmap(_decode_rows, [(folder, rows) for rows in np.array_split(order, _WORKERS)])


def _decode_rows(folder: Path, rows: np.ndarray) -> None:
    dataset = Dataset(folder)
    for row in rows:
        dataset.pixels(int(row))


def _memory(project: Path) -> Result:
    large = project / "repeated"
    if not large.exists():
        _repeat(Dataset(project / DATASET), large)
    small_peak, large_peak = (_peaks(folder) for folder in (project / DATASET, large))
    growth = large_peak[1] / small_peak[1]
    shown = ", ".join(
        f"{whole / 2**20:.0f} MiB resident, {anonymous / 2**20:.0f} anonymous" for whole, anonymous in (large_peak,)
    )
    reference = f"{small_peak[0] / 2**20:.0f} MiB resident, {small_peak[1] / 2**20:.0f} anonymous"
    return Result(
        "memory of an epoch over 600,000 images, against 60,000 (ratio: of the anonymous)", shown, reference, growth,
        target=f"flat: at most {_FLAT}", met=growth <= _FLAT,
    )  # fmt: skip


def _repeat(dataset: Dataset, target: Path) -> None:
    digests, labels, thumbnails = (dataset.column(name) for name in ("digest", "label", "thumbnail"))

    def rows():
        for copy in range(_REPEATS):
            for row in range(len(dataset)):
                name = dataset.classes[labels[row]]
                kept = (dataset.encoded(row), name, 32, 32, digests[row])
                yield Row(f"{copy}/{row:06d}", *kept, thumbnail=thumbnails[row])

    write_dataset(rows(), dataset.classes, target)


def _peaks(folder: Path) -> tuple[float, float]:
    """Measure the bytes of the process that reads in an epoch: the most it held, all and without the mapped file."""
    answer = folder / "anonymous"
    cost = run_command((sys.executable, "-m", "benchmarks.store", str(folder), str(answer)), ROOT)
    return float(cost.memory or 0), float(answer.read_text())


def main() -> None:
    """Read an epoch in this process alone, so that it is the one with the most memory."""
    torch.set_num_threads(1)
    dataset = Dataset(Path(sys.argv[1]))
    pictures = ImageDataset(dataset, np.arange(len(dataset)), CropAndResize(32, 1.0))
    most = 0
    # A batch of every ten, from all over the file: decoding each image would take minutes and show no more.
    for number, positions in enumerate(EpochBatches(len(dataset), _BATCH, 0, 0, 1, drop_last=False)):
        if number % 10 == 0:
            pictures[positions]
            most = max(most, _anonymous())
    Path(sys.argv[2]).write_text(str(most))


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))


if __name__ == "__main__":
    main()
