"""What does the Trainer add to a loop written by hand?

`fit` of `recipe=fast_cifar_one_epoch` on CIFAR-10 (JPEG), with history, checkpoint and the check of the loss, against a
loop over the same network, images and steps. Validation counts on both sides, decoding on neither.
"""

import tempfile
from contextlib import chdir
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from benchmarks.fast_cifar import VAL, recipe_task
from benchmarks.harness import Row, in_turn
from benchmarks.sources import cifar_project
from lightline.runtime.tracking import Run
from stages.train.fit import Task, prepare
from stages.train.history import History
from stages.train.image_sets import Batch
from stages.train.precision import choose_precision
from stages.train.randomness import seed_generators
from stages.train.trainer import build_trainer, keep_states

_OVERHEAD = 1.05


def run(quick: bool) -> list[Row]:
    with chdir(cifar_project(VAL)):
        steps = 8 if quick else 24
        arguments = ("recipe=fast_cifar_one_epoch", f"trainer.limit_train_batches={steps}")
        task = recipe_task(*arguments)
        data, module = prepare(task)
        start = deepcopy(module.state_dict())

        def fit() -> None:
            module.load_state_dict(start)
            module.train()  # Lightning leaves it as the validation by hand left it
            with tempfile.TemporaryDirectory() as folder:
                trainer = build_trainer(task.params)
                keep_states(trainer, task.params, Path(folder), History(Run(), task.params.trainer))
                trainer.fit(module, data)

        def by_hand() -> None:
            module.load_state_dict(start)
            _by_hand(task, data, module)

        pairs = in_turn(fit, by_hand, pairs=2 if quick else 7)
        ours, hand = pairs.seconds()
        ratio = 1 / pairs.ratio()
        row = Row(
            f"seconds of fit, {steps} steps, against a loop by hand (ratio: ours / by hand)", f"{ours:.2f}",
            f"{hand:.2f}", ratio, 1 / pairs.ratio("cpu"), f"at most {_OVERHEAD}", ratio <= _OVERHEAD,
        )  # fmt: skip
    return [row]


def _by_hand(task: Task, data: Any, module: Any) -> None:
    """Run the same network, images, steps and validation without Lightning."""
    settings, steps = task.params.trainer, task.params.trainer.limit_train_batches
    assert isinstance(steps, int)
    precision = choose_precision(settings, torch.device("cpu"))
    module.trainer = _Settings(steps, precision)
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    network = module.network.train()
    bf16 = precision == "bf16-mixed"
    for number, batch in enumerate(data.train_dataloader()):
        if number == steps:
            break
        seed_generators(number, torch.device("cpu"))
        images, targets, _ = _augmented(data, batch, training=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = module.loss(network(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    network.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for batch in data.val_dataloader():
            network(_augmented(data, batch, training=False).images)


class _Settings:
    """As much of Lightning's Trainer as module and data ask for."""

    global_rank, world_size, current_epoch, training = 0, 1, 0, True

    def __init__(self, num_steps: int | None = None, precision: str = ""):
        self.estimated_stepping_batches, self.precision = num_steps, precision


def _augmented(data: Any, batch: Batch, training: bool) -> Batch:
    data.trainer = _Settings()
    data.trainer.training = training
    return data.on_after_batch_transfer(batch, 0)
