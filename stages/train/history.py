"""What a training went through: a row an epoch and validation, and one every so many optimizer steps and at the end."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from lightline.config.training import Trainer
from lightline.files import write_json
from lightline.runtime.origin import LIVE_HISTORY
from lightline.runtime.ranks import is_first_process
from lightline.runtime.tracking import Run
from stages.train.callbacks import Progress
from stages.train.module import Classifier

COLUMNS = ("epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
STEP_COLUMNS = ("step", "epoch", "train_loss", "lr")
Row = dict[str, float]


class History(Callback):
    """Keeps the rows in the state, so that a resumed training has each of them once.

    `end_step`, `end_validation` and `add_row` are for the last of the callbacks: by then all others have logged theirs.

    Attributes:
        rows: dicts with COLUMNS as keys, and what else was logged; without validation val's are missing. epoch counts
            from 1; a validation within an epoch has a fraction, and beside it train's metrics of the epoch so far.
            lr is the first learning group's after the step.
        steps: dicts with STEP_COLUMNS as keys, grad_norm where gradients are clipped (before that), and what else was
            logged at the step. train_loss is that of all images since the row before, lr the one of the step.
    """

    def __init__(self, run: Run, settings: Trainer):
        self.rows: list[Row] = []
        self.steps: list[Row] = []
        self.run = run
        self._every = 1 if settings.fast_dev_run else settings.log_every_n_steps
        self._step, self._last_step = 0, 0  # counted here: to ask the Trainer takes a hundredth of a small step
        self._before = [0.0] * 4  # what earlier rows have of the epoch's totals
        self._due: dict[str, Any] = {}
        self._validated: Row = {}
        # A clock that stands during validation; what it and the epoch's number of images were at a mark.
        self._seconds, self._since = 0.0, 0.0
        self._marks: dict[str, tuple[float, float]] = {}
        self._images = 0.0  # of the epoch that has ended

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._step, self._last_step = trainer.global_step, int(trainer.estimated_stepping_batches)
        # Resumed in the middle of an epoch, Lightning does not start that epoch again.
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        self._seconds, self._since = 0.0, time.monotonic()
        self._marks = dict.fromkeys(("epoch", "row"), (0.0, pl_module.totals("train")[2]))

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self._step += 1
        if self._every and (self._step % self._every == 0 or self._step == self._last_step):
            self._due = {"lr": optimizer.param_groups[0]["lr"]}
            if trainer.gradient_clip_val is not None:
                weights = (weight for group in optimizer.param_groups for weight in group["params"])
                gradients = [weight.grad for weight in weights if weight.grad is not None]
                self._due["grad_norm"] = torch.nn.utils.get_total_norm(gradients)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._seconds += time.monotonic() - self._since

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        totals = pl_module.totals("train")
        self._images = totals[2]
        self._before = [before - now for before, now in zip(self._before, totals, strict=True)]
        pl_module.log_dict(pl_module.epoch_metrics("train"), sync_dist=True)

    def begin(self, metrics: Row) -> None:
        """Add the row of what training begins with, as epoch 0."""
        self.rows.append(_row({"epoch": 0, "step": 0}, metrics))
        self._write()
        self._send(self.rows[-1])
        if is_first_process():
            print(f"epoch 0, the last layer alone: {_losses(metrics)}", flush=True)

    def end_step(self, trainer: lightning.Trainer, pl_module: Classifier) -> None:
        """Add the row of the optimizer step that was just taken, where one is due."""
        if not self._due:
            return
        totals = pl_module.totals("train")
        loss, _, _, weight = (now - before for before, now in zip(self._before, totals, strict=True))
        row = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch + 1,
            "train_loss": loss / weight,
            **self._due,
        }
        self.steps.append(_row(row, trainer.fit_loop.epoch_loop._results.metrics(on_step=True)["log"]))
        self._before, self._due = totals, {}
        sent = {"train_loss_step" if name == "train_loss" else name: value for name, value in self.steps[-1].items()}
        self._send(sent | {"images_per_second": self._speed("row", totals[2])}, commit=False)

    def end_validation(self, trainer: lightning.Trainer) -> Row:
        """Take the metrics of a validation, for the next row."""
        self._validated = _row({}, trainer.fit_loop.epoch_loop.val_loop._results.metrics(on_step=False)["log"])
        return self._validated

    def add_row(self, trainer: lightning.Trainer, pl_module: Classifier) -> None:
        """Add the row of an epoch, or of a validation within it; one alone where training stops at a validation."""
        if not trainer.validating and self.rows and self.rows[-1]["step"] == trainer.global_step:
            return
        part = (trainer.fit_loop.batch_idx + 1) / trainer.num_training_batches
        row = {
            "epoch": trainer.current_epoch + (1 if part == 1 else round(part, 4)),
            "step": trainer.global_step,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        if trainer.validating:
            images, logged = pl_module.totals("train")[2], pl_module.epoch_metrics("train", clear=False)
        else:
            images, results = self._images, trainer.fit_loop.epoch_loop._results
            means, last = (results.metrics(on_step)["log"] for on_step in (False, True))
            logged = {name: last[name] for name in last if f"{name.removesuffix('_step')}_epoch" not in means} | means
        self.rows.append(_row(row, logged | self._validated))
        self._write()
        self._validated = {}
        self._send(self.rows[-1])
        if trainer.is_global_zero:
            line = f"{self._line(trainer)}, {self._speed('epoch', images):,.0f} images/s"
            bar = trainer.progress_bar_callback
            bar.report(line) if isinstance(bar, Progress) else print(line, flush=True)

    def _write(self) -> None:
        """Leave the rows where a flow, which may show them while training runs, looks for them."""
        if is_first_process():
            write_json(LIVE_HISTORY, self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "steps": self.steps, "before": self._before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.steps, self._before = state_dict["rows"], state_dict["steps"], state_dict["before"]

    def _line(self, trainer: lightning.Trainer) -> str:
        row = self.rows[-1]
        parts = [_losses(row), *(f"{name} {value:.4g}" for name, value in row.items() if name not in COLUMNS)]
        seconds = self._seconds + time.monotonic() - self._since
        return f"epoch {row['epoch']}/{trainer.max_epochs}: {'; '.join(parts)}; {seconds:.1f} s"

    def _send(self, row: Row, commit: bool = True) -> None:
        step = int(row["step"])
        values = {name: value for name, value in row.items() if name != "step"}
        self.run.log({**values, "trainer/global_step": step}, step, commit)

    def _speed(self, mark: str, images: float) -> float:
        """Give the images a second of training since a mark, which is set anew; images: of the epoch so far."""
        seconds = self._seconds + time.monotonic() - self._since
        (then, before), self._marks[mark] = self._marks[mark], (seconds, images)
        return (images - before) / max(seconds - then, 1e-9)


def columns(rows: Sequence[Row], first: Sequence[str]) -> list[str]:
    """Name the columns of a table: the first ones, and all others that a row has."""
    return list(dict.fromkeys([*first, *(name for row in rows for name in row)]))


def _row(numbers: Mapping[str, Any], logged: Mapping[str, Any]) -> Row:
    """Make a row of numbers with as many digits as float32 sums can tell apart; our names win over logged ones."""
    values = {**logged, **numbers}
    return {name: value if isinstance(value, int) else float(f"{float(value):.8g}") for name, value in values.items()}


def _losses(row: Row) -> str:
    parts = (
        f"{split} loss {row[f'{split}_loss']:.4f}, accuracy {row[f'{split}_accuracy']:.4f}"
        for split in ("train", "val")
        if f"{split}_loss" in row
    )
    return "; ".join(parts)
