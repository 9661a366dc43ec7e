"""Trainings inside one process, timed."""

import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from benchmarks.by_hand import Loop
from benchmarks.gpu.work import Plan
from benchmarks.settings import composed
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline.models.build import build_network
from lightline.models.device import choose_device
from lightline.models.inference import predict_logits
from lightline.models.tta import with_tta
from lightline.runtime.tracking import Run
from stages.train.fit import Task, prepare
from stages.train.history import History
from stages.train.start import start
from stages.train.trainer import build_trainer, keep_states


class Training:
    """A training that can be done again from its first weights, by the project or by hand; in a project's folder."""

    def __init__(self, plan: Plan, *overrides: str):
        params = composed(*plan.overrides(*overrides))
        dataset = Dataset()
        self.task = Task(start(params, len(dataset.classes)), dataset, read_splits(), "0" * 64)
        self.device = choose_device(params.hardware)
        self.data, self.module = prepare(self.task)
        self._start = deepcopy(self.module.state_dict())
        self._trained = [parameter.requires_grad for parameter in self.module.parameters()]

    @property
    def num_images(self) -> int:
        """Count the images that all its steps take."""
        settings = self.task.params.trainer
        return self.data.num_train_batches(1) * settings.batch_size * settings.max_epochs

    def fit(self, callbacks: Sequence[Callback] = ()) -> dict[str, torch.Tensor]:
        """Train as the stage does, with history, curves and saved states; gives the best epoch's weights."""
        self._reset()
        with tempfile.TemporaryDirectory() as folder:
            trainer = build_trainer(self.task.params)
            history = History(Run(), self.task.params.trainer)
            states = keep_states(trainer, self.task.params, Path(folder), history, callbacks)
            trainer.fit(self.module, self.data)
        assert states.best is not None
        return states.best["weights"]

    def by_hand(self) -> dict[str, torch.Tensor]:
        """Train without Lightning; gives the last weights."""
        self._reset()
        Loop(self.task.params.trainer, self.data, self.module, self.device).train()
        return self.module.network.state_dict()

    def accuracy(self, weights: dict[str, torch.Tensor]) -> float:
        """Compute the test accuracy, with the recipe's test-time augmentation."""
        model, dataset, rows = self.task.params.model, self.task.dataset, self.task.splits.rows("test")
        network = build_network(model, len(dataset.classes))
        network.load_state_dict(weights)
        logits = predict_logits(with_tta(network, model), dataset, rows, self.data.preprocessing, 1000, self.device)
        return float((logits.argmax(1) == dataset.test_labels[rows]).mean())

    def _reset(self) -> None:
        self.module.load_state_dict(self._start)
        for parameter, is_trained in zip(self.module.parameters(), self._trained, strict=True):
            parameter.requires_grad_(is_trained)  # Muon's optimizer has frozen what its schedule was through with
        self.module.train()  # Lightning leaves it as the validation by hand left it


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Give the seconds that it took, the GPU's work waited for, and what came out."""
    _wait()
    started = time.perf_counter()
    result = work()
    _wait()
    return time.perf_counter() - started, result


class EpochSeconds(Callback):
    """Seconds of each epoch's steps and validation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        _wait()
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        _wait()
        self.seconds.append(time.perf_counter() - self._started)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
