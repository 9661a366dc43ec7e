"""float32, bfloat16, float16, and compiled: seconds an epoch, memory, accuracy."""

import gc
import statistics
from collections.abc import Iterator
from contextlib import chdir

import torch

from benchmarks.fast_cifar import VAL
from benchmarks.gpu.fitting import EpochSeconds, Training
from benchmarks.gpu.work import Plan, failed
from benchmarks.harness import Row
from benchmarks.sources import cifar_project

# In the order of what is known least: the compiler comes last.
_VARIANTS = (
    ("32-true", ()),
    ("bf16-mixed", ()),
    ("16-mixed", ()),
    ("auto", ("trainer.compile=true",)),
)


def run(plan: Plan) -> Iterator[Row]:
    with chdir(cifar_project(VAL)):
        for precision, more in _VARIANTS:
            what = " ".join((f"trainer.precision={precision}", *more))
            try:
                yield _trained(plan, what, f"trainer.precision={precision}", *more)
            except Exception as error:  # one that this machine cannot do is no reason to leave out the others
                yield failed(what, error)


def _trained(plan: Plan, what: str, *overrides: str) -> Row:
    """Train a few epochs at full size; the first, in which kernels load and compile, is told beside."""
    epochs = 2 if plan.is_trial else 5
    few = ("trainer.limit_train_batches=2",) if plan.is_trial else ()  # bfloat16 may be slow there
    training = Training(plan, "augment.low_resolution=[]", f"trainer.max_epochs={epochs}", *few, *overrides)
    clock, has_gpu = EpochSeconds(), torch.cuda.is_available()
    if has_gpu:
        gc.collect()  # the training before has its images there still
        torch.cuda.reset_peak_memory_stats()
    accuracy = training.accuracy(training.fit([clock]))
    memory = f"{torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB" if has_gpu else "no GPU's memory"
    first, *others = clock.seconds
    return Row(
        f"{what}: seconds an epoch at 32 pixels (the first), most memory of tensors, test accuracy after {epochs}",
        f"{statistics.median(others):.2f} s ({first:.2f} s), {memory}, {accuracy:.4f}",
    )
