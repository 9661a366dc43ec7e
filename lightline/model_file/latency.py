"""The latency table: how long an answer takes, from raw pixels to probabilities, on this machine.

Of all outputs only this holds a clock; `export.latency` switches it off.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lightline.data.dataset import Dataset
from lightline.files import write_csv
from lightline_predict.classifier import Classifier

BATCHES = (1, 8, 64)
_FAST = ("avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")
HEADER = ("runtime", "batch", "threads", "runs", "p50_ms", "p95_ms")
_ROUNDS = 3  # the runtimes take turns, so that a busy moment falls on all of them
_SLICE = 0.05  # seconds of a turn, or one run where that is longer
_LONGEST = 2.0  # seconds that a runtime's answer may be expected to take; larger batches are left out
_LARGEST = 2**28  # bytes of pixels in a batch; more would ask for memory that many machines lack

Answer = Callable[[np.ndarray], Any]  # takes uint8 [batch, height, width, 3]


@dataclass(frozen=True)
class Latency:
    """What was measured.

    rows: as in HEADER, times in milliseconds; none where nothing was measured.
    size: height and width of the images, in pixels.
    """

    rows: list[tuple[str, int, int, int, float, float]]
    size: tuple[int, int] = (0, 0)

    def write(self, path: Path) -> None:
        """Write the table as CSV; the header alone where nothing was measured."""
        write_csv(path, HEADER, self.rows)

    def is_sooner(self, runtime: str, other: str) -> bool:
        """Tell whether a runtime's median is below another's at any batch."""
        medians = {row[:2]: row[4] for row in self.rows}
        return any(medians[runtime, batch] < medians[other, batch] for name, batch in medians if name == runtime)

    def markdown(self) -> str:
        """Return the table and the machine as Markdown, for the model card."""
        if not self.rows:
            return "Not measured: `export.latency` was false."
        (height, width), threads = self.size, self.rows[0][2]
        lines = ["| runtime | batch | p50, ms | p95, ms | runs |", "|---|---|---|---|---|"]
        lines += [
            f"| {name} | {batch} | {p50:.2f} | {p95:.2f} | {runs} |" for name, batch, _, runs, p50, p95 in self.rows
        ]
        told = (
            f"From raw pixels ({height}×{width}) to probabilities, on {threads} thread{'s' * (threads > 1)} of "
            f"{processor()}. Times by the clock differ from one equal run to the next, as nothing else here does."
        )
        return f"{told}\n\n" + "\n".join(lines)


def measure_latency(reference: nn.Module, files: dict[str, Path], dataset: Dataset, rows: np.ndarray) -> Latency:
    """Time torch and model files side by side, with as many threads each as torch has, on these rows' images.

    reference: uint8 [batch, height, width, 3] → answers, in torch, on the CPU, in evaluation mode.
    files: model files by the names of their numbers, as in fp32.
    """
    threads, pixels = torch.get_num_threads(), common_images(dataset, rows, max(BATCHES))
    answers: dict[str, Answer] = {"torch eager": _eager(reference)}
    for numbers, path in files.items():
        answers[f"onnxruntime {numbers}"] = Classifier(path, threads).predict
    print("measuring how long answers take (export.latency = true)", flush=True)
    measured, slowest = [], 0.0  # seconds an image
    for batch in BATCHES:
        if batch > 1 and (batch * pixels[0].nbytes > _LARGEST or batch * slowest > _LONGEST):
            break
        images = pixels[np.arange(batch) % len(pixels)]
        for name, times in _take_turns(answers, images).items():
            p50, p95 = np.percentile(times, [50, 95]) * 1000
            measured.append((name, batch, threads, len(times), round(float(p50), 3), round(float(p95), 3)))
        slowest = max(row[4] / row[1] for row in measured if row[1] == batch) / 1000
    return Latency(measured, pixels.shape[1:3])


def common_images(dataset: Dataset, rows: np.ndarray, num_images: int) -> np.ndarray:
    """Read the first of the rows' images that have the most common size: uint8 [at most num_images, height, width, 3].

    Large images are fewer, to bound the memory they take.
    """
    sizes = np.stack([dataset.column("height"), dataset.column("width")], axis=1)[rows]
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    height, width = kinds[counts.argmax()].tolist()
    rows = rows[(sizes == (height, width)).all(axis=1)]
    affordable = max(1, _LARGEST // (height * width * 3))
    return np.stack([dataset.pixels(int(row)) for row in rows[: min(num_images, affordable)]])


def _eager(reference: nn.Module) -> Answer:
    @torch.inference_mode()
    def answer(pixels: np.ndarray) -> Any:
        return reference(torch.from_numpy(pixels))

    return answer


def _take_turns(answers: dict[str, Answer], pixels: np.ndarray) -> dict[str, list[float]]:
    """Measure the seconds of each run, after one that does not count."""
    for answer in answers.values():
        answer(pixels)
    times: dict[str, list[float]] = {name: [] for name in answers}
    for _ in range(_ROUNDS):
        for name, answer in answers.items():
            end = time.perf_counter() + _SLICE
            times[name].append(_seconds(answer, pixels))
            while time.perf_counter() < end:
                times[name].append(_seconds(answer, pixels))
    return times


def _seconds(answer: Answer, pixels: np.ndarray) -> float:
    started = time.perf_counter()
    answer(pixels)
    return time.perf_counter() - started


def processor() -> str:
    """Name the processor, with what makes half precision and int8 fast on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    flags = [flag for flag in _FAST if flag in told.get("flags", "").split()]
    return f"{told.get('model name', platform.machine())} ({', '.join(flags) or 'no bf16 or int8 instructions'})"
