"""How fast does the model file answer, in fp32 and in int8, beside the network in torch eager?

ResNet-18 for 32×32 pixels, from raw pixels to probabilities, with as many threads on both sides, and torch's threads
waiting as in the stages (OMP_WAIT_POLICY=PASSIVE). How far int8 can lead is the processor's: its VNNI instructions do
four times as many products a cycle as those for fp32, so that int8 leads by four where torch comes near the peak of
fp32, and by more where torch does not. The last line shows what both reached.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # isort: skip  (read when torch loads)

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import PAIRS, Pairs, Row, in_turn
from benchmarks.resnet import SIZE, pixels, write_resnet18
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.models.checkpoint import Checkpoint, load_checkpoint
from lightline_predict.classifier import Classifier

_RUNS = {1: 40, 8: 12, 64: 2}  # of a turn: some tenths of a second; of these a quarter, at least two, for --quick
_TARGETS = {("fp32", 1): 1.0, ("fp32", 8): 1.0, ("fp32", 64): 1.0, ("int8", 1): 6.0, ("int8", 64): 10.0}

Answer = Callable[[np.ndarray], object]


def run(quick: bool) -> list[Row]:
    """Return a row for each kind of numbers and each batch, then the arithmetic's."""
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        files = write_resnet18(Path(folder))
        checkpoint = load_checkpoint(files.checkpoint)
        answers = {"fp32": Classifier(files.fp32, threads).predict, "int8": Classifier(files.int8, threads).predict}
    eager, rows, pairs = _eager(checkpoint), [], {}
    num_runs = {batch: max(runs // 4, 2) if quick else runs for batch, runs in _RUNS.items()}
    for numbers, answer in answers.items():
        for batch, runs in num_runs.items():
            pairs[numbers, batch] = _in_turn(answer, eager, batch, runs, 2 if quick else PAIRS)
            rows.append(_row(pairs[numbers, batch], numbers, batch, runs, threads))
    return [*rows, _arithmetic(checkpoint, pairs["int8", 64], num_runs[64])]


def _eager(checkpoint: Checkpoint) -> Answer:
    model = PixelClassifier(checkpoint.network(), checkpoint.preprocessing).eval()

    @torch.inference_mode()
    def answer(image: np.ndarray) -> object:
        return model(torch.from_numpy(image))

    return answer


def _in_turn(answer: Answer, eager: Answer, batch: int, runs: int, pairs: int) -> Pairs:
    image = pixels(batch)

    def several(answer: Answer) -> Callable[[], None]:
        def work() -> None:
            for _ in range(runs):
                answer(image)

        return work

    return in_turn(several(answer), several(eager), pairs)


def _row(pairs: Pairs, numbers: str, batch: int, runs: int, threads: int) -> Row:
    ours, reference = (seconds * 1000 / runs for seconds in pairs.seconds())
    target = _TARGETS.get((numbers, batch))
    return Row(
        what=f"an answer from {numbers} at batch {batch}, {threads} threads",
        ours=f"{ours:.2f} ms",
        reference=f"{reference:.2f} ms",
        ratio=pairs.ratio(),
        cpu_ratio=pairs.ratio("cpu"),
        target="" if target is None else f"at least {target:g}",
        met=None if target is None else pairs.ratio() >= target,
    )


def _arithmetic(checkpoint: Checkpoint, pairs: Pairs, runs: int) -> Row:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        checkpoint.network()(torch.zeros(64, 3, SIZE, SIZE))
    # By CPU seconds, which a busy machine does not stretch.
    ours, reference = (counter.get_total_flops() * runs / seconds / 1e9 for seconds in pairs.seconds("cpu"))
    return Row("arithmetic a CPU second, int8 beside torch, at batch 64", f"{ours:.0f} GOP", f"{reference:.0f} GFLOP")
