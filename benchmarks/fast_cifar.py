"""How soon does `recipe=fast_cifar` classify CIFAR-10, and what does the Trainer add to a loop written by hand?

CIFAR-10 (JPEG); 49,000 images train, 1,000 choose the epoch, 10,000 test. Seconds are those inside `fit`: with its
validation and checkpoints, without decoding, on both sides. The tutorial (its CNN, Adam 2e-4, batches of 32, float32, a
transform an image, a log and a metric a step) is timed for a part of an epoch; that its best test accuracy of 0.712
takes it 14 epochs of 45,000 images was found once and is not repeated here.
"""

import statistics
import tempfile
import time
from contextlib import chdir
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.harness import Row, in_turn
from benchmarks.settings import composed
from benchmarks.sources import cifar_project
from benchmarks.tutorial import seconds_per_image
from lightline.callbacks import History
from lightline.data import ImageData
from lightline.dataset import Dataset
from lightline.models import build_network
from lightline.pictures import Batch
from lightline.randomness import seed_generators
from lightline.save_state import SaveState
from lightline.splits import read_splits
from lightline.state_files import FINISHED
from lightline.test_time import answering
from lightline.tracking import Run
from lightline.trainer import build_trainer
from lightline.training import Task, prepare
from lightline.transforms import evaluation_transform

_VAL, _SEEDS = 0.02, (1, 2, 3)
_TUTORIAL_IMAGES, _TUTORIAL_ACCURACY = 14 * 45_000, 0.712
_SECONDS, _ACCURACY, _OVERHEAD, _SOONER = 480, 0.90, 1.05, 25


def run(quick: bool) -> list[Row]:
    with chdir(cifar_project(_VAL)):
        one_epoch = [_train("fast_cifar_one_epoch", seed) for seed in _SEEDS[: 1 if quick else 3]]
        tutorial = seconds_per_image(2_000 if quick else 16_000) * _TUTORIAL_IMAGES
        rows = [_sooner(one_epoch, tutorial), _overhead(quick)]
        if not quick:
            rows.append(_record([_train("fast_cifar", seed) for seed in _SEEDS]))
    return rows


def _sooner(found: list[tuple[float, float]], tutorial: float) -> Row:
    seconds, accuracy = (statistics.mean(values) for values in zip(*found, strict=True))
    ratio = tutorial / seconds
    met = ratio >= _SOONER and accuracy >= _TUTORIAL_ACCURACY
    return Row(
        f"fast_cifar_one_epoch: seconds, test accuracy (mean of {len(found)} seeds), against the tutorial's best",
        f"{seconds:.1f} s, {accuracy:.4f}", f"{tutorial:.0f} s, {_TUTORIAL_ACCURACY}", ratio,
        target=f"{_TUTORIAL_ACCURACY} at least {_SOONER} times sooner", met=met,
    )  # fmt: skip


def _record(found: list[tuple[float, float]]) -> Row:
    each = ", ".join(f"{accuracy:.4f} in {seconds:.0f} s" for seconds, accuracy in found)
    seconds, accuracy = (statistics.mean(values) for values in zip(*found, strict=True))
    return Row(
        f"fast_cifar: test accuracy, with test-time augmentation, mean of 3 seeds ({each})",
        f"{accuracy:.4f}, {seconds:.0f} s",
        target=f"{_ACCURACY:.2f} within {_SECONDS} s", met=accuracy >= _ACCURACY and seconds <= _SECONDS,
    )  # fmt: skip


def _overhead(quick: bool) -> Row:
    steps = 16 if quick else 48
    arguments = ("recipe=fast_cifar_one_epoch", f"trainer.limit_train_batches={steps}")
    task = _task(*arguments)
    data, module = prepare(task)
    start = deepcopy(module.state_dict())

    def fit() -> None:
        module.load_state_dict(start)
        with tempfile.TemporaryDirectory() as folder:
            build_trainer(task.params, Path(folder), [History(Run())]).fit(module, data)

    def by_hand() -> None:
        module.load_state_dict(start)
        _by_hand(task, data, module)

    pairs = in_turn(fit, by_hand, pairs=3 if quick else 7)
    ours, hand = pairs.seconds()
    ratio = 1 / pairs.ratio()
    return Row(
        f"seconds of fit, {steps} steps, against a loop by hand (ratio: ours / by hand)", f"{ours:.2f}",
        f"{hand:.2f}", ratio, 1 / pairs.ratio("cpu"), f"at most {_OVERHEAD}", ratio <= _OVERHEAD,
    )  # fmt: skip


def _by_hand(task: Task, data: Any, module: Any) -> None:
    """The same network, images, steps and validation without Lightning."""
    settings = task.params.trainer
    module.trainer = _Settings(settings.limit_train_batches)
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    network = module.network.train()
    for number, batch in enumerate(data.train_dataloader()):
        if number == settings.limit_train_batches:
            break
        seed_generators(number, torch.device("cpu"))
        images, targets, _ = _augmented(data, batch, training=True)
        with torch.autocast("cpu", torch.bfloat16):
            loss = module.loss(network(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    network.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for batch in data.val_dataloader():
            network(_augmented(data, batch, training=False).images)


class _Settings:
    """As much of Lightning's Trainer as module and data ask for."""

    global_rank, world_size, current_epoch, training = 0, 1, 0, True

    def __init__(self, num_steps: int | None):
        self.estimated_stepping_batches = num_steps


def _augmented(data: Any, batch: Batch, training: bool) -> Batch:
    data.trainer = _Settings(None)
    data.trainer.training = training
    return data.on_after_batch_transfer(batch, 0)


def _task(*overrides: str) -> Task:
    return Task(composed("hardware=cpu", *overrides), Dataset(), read_splits(), "0" * 64)


def _train(recipe: str, seed: int) -> tuple[float, float]:
    """Seconds inside `fit`, and the test accuracy of the best epoch."""
    task = _task(f"recipe={recipe}", f"seed={seed}")
    data, module = prepare(task)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(task.params, Path(folder), [History(Run())])
        started = time.perf_counter()
        trainer.fit(module, data)
        seconds = time.perf_counter() - started
        state = torch.load(Path(folder, FINISHED), weights_only=True)
    network = build_network(task.params.model, len(task.dataset.classes))
    network.load_state_dict(state["callbacks"][SaveState.__name__]["best"]["weights"])
    return seconds, _accuracy(network, task, data)


@torch.inference_mode()
def _accuracy(network: nn.Module, task: Task, data: ImageData) -> float:
    """On the test split, with the recipe's test-time augmentation."""
    network = answering(network.to(memory_format=torch.channels_last), task.params.model)
    transform, rows = evaluation_transform(data.preprocessing), task.splits.rows("test")
    correct = 0
    for part in np.array_split(rows, 20):
        pixels = np.stack([task.dataset.pixels(int(row)) for row in part])
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(transform(torch.from_numpy(pixels)).contiguous(memory_format=torch.channels_last))
        correct += int((logits.argmax(1).numpy() == task.dataset.labels[part]).sum())
    return correct / len(rows)
