"""What watches training: progress for people, and an end where the loss is no number."""

import math
import time
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar

from lightline.errors import LightlineError

_REDRAW = 1.0  # seconds between two drawings of the bar
_READ_TOGETHER = 32  # losses on an accelerator; to read one is to wait for it


_ADVICE = (
    "No state after it is kept, and earlier results are as they were. A smaller optimizer.lr, a longer warm-up, "
    "trainer.gradient_clip_val = 1.0 or trainer.precision = 32-true may help."
)


class Progress(RichProgressBar):
    """Lightning's rich bar for terminals, with epochs counted from 1 and the epochs' lines above it."""

    _drawn = 0.0

    def report(self, line: str) -> None:
        """Print a line above the bar."""
        if self.progress is not None:
            self.progress.console.print(line, highlight=False, soft_wrap=True)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Drawing the bar takes longer than many a step.
        now = time.monotonic()
        if now - self._drawn > _REDRAW or batch_idx + 1 == self.total_train_batches:
            self._drawn = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _update_metrics(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Do nothing: there are no metrics before an epoch's end, and then they stand in the line above."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"


class FiniteLoss(Callback):
    """Raises LightlineError where a step's loss is not finite: at once on a CPU, some steps later on an accelerator."""

    def __init__(self):
        self._unread: list[torch.Tensor] = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"]
        if loss.is_cpu and math.isfinite(loss):
            return
        self._unread.append(loss)
        if loss.is_cpu or len(self._unread) == _READ_TOGETHER:
            self.check(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.check(trainer)

    def check(self, trainer: lightning.Trainer) -> None:
        """Read what has not been read yet; called before a state is saved, which must be a good one."""
        losses = torch.stack(self._unread).tolist() if self._unread else []
        self._unread.clear()
        if all(map(math.isfinite, losses)):
            return
        first = next(number for number, loss in enumerate(losses, start=1) if not math.isfinite(loss))
        batch = trainer.fit_loop.batch_idx + 1 - (len(losses) - first)
        raise LightlineError(
            f"The training loss is {losses[first - 1]} at batch {batch} of {trainer.num_training_batches} in epoch "
            f"{trainer.current_epoch + 1}. {_ADVICE}"
        )

    @staticmethod
    def check_validation(trainer: lightning.Trainer, loss: float) -> None:
        """Check what a validation has found: the last step before it may have spoiled the weights."""
        if not math.isfinite(loss):
            raise LightlineError(f"The validation loss is {loss} in epoch {trainer.current_epoch + 1}. {_ADVICE}")
