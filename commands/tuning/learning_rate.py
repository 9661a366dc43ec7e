"""Which learning rate suits a training: the range test of L. Smith ("Cyclical learning rates for training neural
networks", WACV 2017).
"""

import math
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure

from commands.tuning.trial import prepare_trial, steps_per_epoch, take_steps
from lightline.config.params import Params
from lightline.errors import LightlineError
from lightline.files import save_figure
from stages.train.module import Classifier

CURVE = Path("reports/tune/lr_find.png")
_MIN_LR, _MAX_LR = 1e-5, 10.0
_DIVERGED = 2.0  # times the lowest loss
_WIDTH = 0.02  # of the smoothing, as a part of all steps
_FALL = 0.02  # of the loss, below which nothing was learnt
_TELL = 10.0  # seconds between two lines on the way


class Sweep(Callback):
    """Raises all learning rates from step to step, in their proportion, until the loss has grown far above its lowest.

    Attributes:
        losses: of each step, before it: the mean of its images, as it is trained.
    """

    def __init__(self, factors: np.ndarray):
        """Take the factors, float [steps], by which to multiply the optimizer's rates."""
        self.losses: list[float] = []
        self._factors = factors
        self._rates: list[float] = []
        self._told = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._rates = [group["lr"] for group in trainer.optimizers[0].param_groups]

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        for group, lr in zip(trainer.optimizers[0].param_groups, self._rates, strict=True):
            group["lr"] = lr * float(self._factors[trainer.global_step])

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == len(self.losses):
            return  # gradients are still accumulated
        assert isinstance(pl_module, Classifier)
        loss = float(pl_module.epoch_metrics("train")["train_loss"])
        self.losses.append(loss)
        if (now := time.monotonic()) - self._told > _TELL:
            self._told = now
            print(f"step {len(self.losses)} of at most {len(self._factors)}: loss {loss:.4g}", flush=True)
        trainer.should_stop = not math.isfinite(loss) or loss > _DIVERGED * max(min(self.losses), self.losses[0])


def find_lr(params: Params, num_steps: int) -> dict[str, float]:
    """Find the optimizer's rates, by their keys in params.yaml, where the loss is lowest while they grow; draw CURVE.

    optimizer.lr goes from 1e-5 to 10, and the optimizer's other rates with it.

    Raises:
        LightlineError: at no rate is anything learnt.
    """
    rates = {name: lr for name, lr in params.optimizer if (name == "lr" or name.endswith("_lr")) and lr is not None}
    lrs = np.geomspace(_MIN_LR, _MAX_LR, num_steps)
    sweep = Sweep(lrs / params.optimizer.lr)
    trial, data, module = prepare_trial(params)
    print(
        f"{num_steps} steps, as many as in {num_steps / steps_per_epoch(trial, data):.2g} epochs of training",
        flush=True,
    )
    take_steps(trial, data, module, num_steps, [sweep])
    losses = np.array(sweep.losses)
    losses = losses[np.isfinite(losses)]
    if not len(losses):
        raise LightlineError("The loss of the first step is no number: it is no question of the learning rate.")
    smooth = _smoothed(losses, max(1.0, _WIDTH * num_steps))
    best = int(smooth.argmin())
    _draw(lrs[: len(losses)], losses, smooth, best)
    if smooth[best] > (1 - _FALL) * smooth[0]:
        raise LightlineError(
            f"In {num_steps} steps the loss fell at no learning rate ({CURVE} shows it); try more, as in "
            f"`lr_find --steps {4 * num_steps}`, or larger batches."
        )
    return {name: float(f"{lr * lrs[best] / params.optimizer.lr:.2g}") for name, lr in rates.items()}


def _smoothed(losses: np.ndarray, width: float) -> np.ndarray:
    """Compute means of neighbouring steps, weighted by a bell of this width; at the ends, of those that there are."""
    step = np.arange(len(losses))
    weights = np.exp(-(((step[:, None] - step) / width) ** 2) / 2)
    return weights @ losses / weights.sum(1)


def _draw(lrs: np.ndarray, losses: np.ndarray, smooth: np.ndarray, best: int) -> None:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(lrs, losses, ".", color="#777777", markersize=4, label="a step")
    axes.semilogx(lrs, smooth, color="#1f5fa8", label="smoothed")
    axes.plot(lrs[best], smooth[best], "o", color="#b5322e", label=f"lowest, at {lrs[best]:.2g}")
    axes.set(xlabel="optimizer.lr", ylabel="loss, the mean of a step's images", ylim=(None, 1.2 * losses[0]))
    axes.grid(alpha=0.25)
    axes.legend()
    save_figure(figure, CURVE)
