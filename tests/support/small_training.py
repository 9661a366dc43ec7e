"""A training of a few steps, and the tables that it leaves."""

import csv
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from lightline.config.params import Params
from lightline.runtime.tracking import Run
from lightline.runtime.training_folder import forget, training_folder
from stages.train.fit import REPORTS, fit, write_outputs
from stages.train.state_files import newest_state
from stages.train.trainer import build_trainer
from tests.support.tiny import tiny_task


def table(name: str) -> list[dict[str, float | None]]:
    with (REPORTS / f"{name}.csv").open() as file:
        return [{key: float(value) if value else None for key, value in row.items()} for row in csv.DictReader(file)]


def train(params: Params, *callbacks: Callback, run: Run | None = None) -> dict[str, Any]:
    """Train as the stage does, with callbacks of one's own."""
    task, trainer = tiny_task(params), build_trainer(params)
    trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]
    with training_folder(task.fingerprint, {}) as folder:
        fitted = fit(task, trainer, folder, newest_state(folder), run or Run())
        metrics = write_outputs(task, fitted)
    forget(task.fingerprint)
    return metrics


class Watcher(Callback):
    """Notes each step's loss, learning rate, gradients and images."""

    def __init__(self):
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.norms: list[float] = []
        self.rows: list[list[int]] = []
        self.validated: list[int] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])
        gradients = [weight.grad.flatten() for weight in pl_module.parameters()]
        self.norms.append(torch.cat(gradients).norm().item())

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(outputs["loss"].item())
        self.rows.append(batch.rows.tolist())

    def on_validation_batch_end(self, trainer: Any, *rest: Any) -> None:
        self.validated.append(trainer.global_step)
