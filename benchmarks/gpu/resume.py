"""A training that is killed in the middle of an epoch and gone on with, against one that was not."""

import re
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import torch

from benchmarks.gpu.work import Plan, finish, run_stages, start_stage
from benchmarks.harness import Row
from lightline.data.splits import read_splits
from lightline.models.checkpoint import BEST, LAST, load_checkpoint

_POLL = 0.005  # seconds


def run(plan: Plan) -> Iterator[Row]:
    overrides = () if plan.is_trial else ("trainer.max_epochs=5",)
    whole = plan.folder("whole", *overrides)
    run_stages(whole, "train")
    with chdir(whole):
        size = int(load_checkpoint(BEST).params["trainer"]["batch_size"])
        steps = len(read_splits().rows("train")) // size
    # A number of steps that is no part of an epoch.
    killed = plan.folder("killed", *overrides, f"checkpoint.every_n_train_steps={steps // 3 + 1}")
    step = _killed_at(killed, steps)
    told = run_stages(killed, "train")
    if "going on with the unfinished training" not in told:
        raise RuntimeError("the second training did not go on from the first one's state")
    for file in (BEST, LAST):
        yield _compared(f"{file.name} of a training killed after step {step} ({steps} an epoch)", whole / file,
                        killed / file)  # fmt: skip


def _killed_at(folder: Path, steps: int) -> int:
    """Kill a training once it has saved a state in the middle of an epoch after the first; gives the step of that."""
    process = start_stage(folder, "train")
    while process.poll() is None:
        saved = [int(found[1]) for path in folder.glob(".lightline/training/*/step-*.ckpt")
                 if (found := re.search(r"step-(\d+)", path.name))]  # fmt: skip
        if any(step > steps and step % steps for step in saved):
            process.kill()
            process.communicate()
            return max(saved)
        time.sleep(_POLL)
    finish(process)
    raise RuntimeError("the training ended before it could be killed")


def _compared(what: str, one: Path, other: Path) -> Row:
    first, second = (torch.load(path, map_location="cpu", weights_only=True)["state_dict"] for path in (one, other))
    equal = sum(torch.equal(value, second[name]) for name, value in first.items())
    are_bytes = one.read_bytes() == other.read_bytes()
    return Row(
        f"{what} and gone on with, against the uninterrupted one's",
        f"{equal} of {len(first)} tensors equal, {'the same bytes' if are_bytes else 'other bytes'}",
        target="the same bytes", met=are_bytes,
    )  # fmt: skip
