"""fast_cifar by the project with all features on, against the same loop by hand."""

import statistics
import time
from collections.abc import Iterator
from contextlib import chdir

import torch

from benchmarks.fast_cifar import VAL
from benchmarks.gpu.fitting import Training, timed
from benchmarks.gpu.work import Plan
from benchmarks.harness import Row
from benchmarks.sources import cifar_project

_PAIRS, _OVERHEAD = 3, 1.05
_EVERYTHING = ("trainer.ema_decay=0.97", "checkpoint.every_n_train_steps=50", "trainer.log_every_n_steps=10")


def run(plan: Plan) -> Iterator[Row]:
    with chdir(cifar_project(VAL)):
        begun, training = time.monotonic(), Training(plan)
        training.fit()  # warm-up: kernels load, workspaces are allotted, the images move to the GPU
        training.by_hand()
        ours, hand = _in_turn(training, begun + plan.seconds / 2)
        yield _row("fast_cifar", training, ours, hand)
        everything = Training(plan, *_EVERYTHING)
        everything.fit()
        yield _row("fast_cifar with EMA, a saved state every 50 steps, a row of curves every 10", everything,
                   [_trained(everything, by_hand=False)], hand)  # fmt: skip
        # What a loop by hand has that nobody asked to give the same weights twice.
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = True
        training.by_hand()
        free = [_trained(training, by_hand=True)]
        yield _row("fast_cifar, against a loop by hand that need not be deterministic", training, ours, free, None)


Result = tuple[float, float]  # seconds, test accuracy


def _in_turn(training: Training, end: float) -> tuple[list[Result], list[Result]]:
    ours, hand = [], []
    while len(ours) < _PAIRS and (not ours or time.monotonic() < end):
        sides = (False, True) if len(ours) % 2 == 0 else (True, False)
        for by_hand in sides:
            (hand if by_hand else ours).append(_trained(training, by_hand))
    return ours, hand


def _trained(training: Training, by_hand: bool) -> Result:
    seconds, weights = timed(training.by_hand if by_hand else training.fit)
    return seconds, training.accuracy(weights)


def _row(what: str, training: Training, ours: list[Result], hand: list[Result], most: float | None = _OVERHEAD) -> Row:
    """Make the row; most: times the seconds of the loop by hand."""
    ratio = statistics.median(found[0] for found in ours) / statistics.median(found[0] for found in hand)
    return Row(
        f"{what}: seconds, images/s, test accuracy (medians of {len(ours)} and {len(hand)}; ratio: ours / by hand)",
        _told(training, ours), _told(training, hand), ratio,
        target=f"at most {most}" if most else "", met=ratio <= most if most else None,
    )  # fmt: skip


def _told(training: Training, found: list[Result]) -> str:
    seconds, accuracy = (statistics.median(values) for values in zip(*found, strict=True))
    return f"{seconds:.2f} s, {training.num_images / seconds:,.0f} images/s, {accuracy:.4f}"
