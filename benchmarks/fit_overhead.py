"""What does the Trainer add to a loop written by hand?

`fit` of `recipe=fast_cifar_one_epoch` on CIFAR-10 (JPEG), with history, checkpoint and the check of the loss, against a
loop over the same network, images and steps. Validation counts on both sides, decoding on neither.
"""

import tempfile
from contextlib import chdir
from copy import deepcopy
from pathlib import Path

import torch

from benchmarks.by_hand import Loop
from benchmarks.fast_cifar import VAL, recipe_task
from benchmarks.harness import Row, in_turn
from benchmarks.sources import cifar_project
from lightline.runtime.tracking import Run
from stages.train.fit import prepare
from stages.train.history import History
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
            Loop(task.params.trainer, data, module, torch.device("cpu")).train()

        pairs = in_turn(fit, by_hand, pairs=2 if quick else 7)
        ours, hand = pairs.seconds()
        ratio = 1 / pairs.ratio()
        row = Row(
            f"seconds of fit, {steps} steps, against a loop by hand (ratio: ours / by hand)", f"{ours:.2f}",
            f"{hand:.2f}", ratio, 1 / pairs.ratio("cpu"), f"at most {_OVERHEAD}", ratio <= _OVERHEAD,
        )  # fmt: skip
    return [row]
