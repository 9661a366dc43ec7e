"""When a training's state is saved: so often that it can be killed at any instant and lose one interval at most."""

import math
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint

from lightline.config.params import Params
from lightline.runtime.state_store import FINISHED
from stages.train.callbacks import FiniteLoss
from stages.train.history import History
from stages.train.module import Classifier
from stages.train.state_files import state_file

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Best(TypedDict):
    """The best validation so far: its row of the history, counted from 0, what it reached, the weights, on the CPU."""

    row: int
    score: float
    weights: dict[str, torch.Tensor]


class SaveState(Checkpoint):
    """Saves the Trainer's state at the chosen interval, when asked to stop, and at the end; keeps the best weights.

    It saves between two batches, and between two epochs after validation. Not at a batch that validation follows, but
    after that: a training resumed from before would leave it out.

    Attributes:
        best: part of the state, so that no second file can contradict it.
    """

    def __init__(self, folder: Path, params: Params, finite_loss: FiniteLoss, history: History):
        self.best: Best | None = None
        self._folder = folder
        self._interval = params.checkpoint
        self._monitor = params.trainer.monitor
        self._finite_loss = finite_loss
        self._history = history
        self._validated: dict[str, torch.Tensor] = {}
        self._saved_step, self._saved_at = 0, 0.0
        self._asked_to_stop = False
        self._handlers: dict[int, Any] = {}

    def begin(self, network: torch.nn.Module, score: float) -> None:
        """Take what training begins with, which has the history's last row, for the best so far."""
        self.best = Best(row=len(self._history.rows) - 1, score=score, weights=_copied(network))

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._note_saved(trainer)
        # In the middle of a step there is no state to save.
        self._handlers = {number: signal.signal(number, self._ask_to_stop) for number in _SIGNALS}

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._give_signals_back()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._give_signals_back()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Classifier)
        self._history.end_step(trainer, pl_module)
        done, batches = batch_idx + 1, trainer.num_training_batches
        if trainer.should_stop or (done == batches and _is_last_epoch(trainer)):
            # What training ends with is validated, whatever the interval.
            trainer.should_stop, trainer.check_val_every_n_epoch = True, 1
        elif done < batches and (trainer.val_check_batch == batches or not _is_validation_next(trainer)):
            self._save_after_batch(trainer, done)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # Averaged weights, where there is averaging: its callback comes before this one, and swaps them in.
        network = pl_module.network
        assert isinstance(network, torch.nn.Module)
        self._validated = _copied(network)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        validated = self._history.end_validation(trainer)
        self._finite_loss.check_validation(trainer, validated["val_loss"])
        score = validated[self._monitor]
        if self.best is None or _is_better(score, self.best["score"], self._monitor):
            self.best = Best(row=len(self._history.rows), score=score, weights=self._validated)
        if (done := trainer.fit_loop.batch_idx + 1) < trainer.num_training_batches:
            self._history.add_row(trainer, pl_module)
            if not trainer.should_stop:
                self._save_after_batch(trainer, done)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        self._history.add_row(trainer, pl_module)
        if trainer.should_stop or _is_last_epoch(trainer):
            trainer.save_checkpoint(self._folder / FINISHED)
            if self._asked_to_stop:
                raise KeyboardInterrupt
        else:
            self._save_if_due(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def _save_after_batch(self, trainer: lightning.Trainer, done: int) -> None:
        if done % trainer.accumulate_grad_batches == 0:
            self._save_if_due(trainer)

    def _save_if_due(self, trainer: lightning.Trainer) -> None:
        due, stop = self._asked_to_stop or self._is_due(trainer), self._asked_to_stop
        if trainer.world_size > 1:  # processes save and stop together, or not at all
            due, stop = (trainer.strategy.reduce_boolean_decision(flag, all=False) for flag in (due, stop))
        if due:
            self._finite_loss.check(trainer)
            trainer.save_checkpoint(state_file(self._folder, trainer.global_step))
            self._note_saved(trainer)
        if stop:
            raise KeyboardInterrupt

    def _is_due(self, trainer: lightning.Trainer) -> bool:
        steps, seconds = self._interval.every_n_train_steps, self._interval.train_time_interval
        if steps is not None and trainer.global_step - self._saved_step >= steps:
            return True
        return seconds is not None and time.monotonic() - self._saved_at >= seconds

    def _note_saved(self, trainer: lightning.Trainer) -> None:
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def _give_signals_back(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _ask_to_stop(self, number: int, frame: Any) -> None:
        if self._asked_to_stop:
            if number == signal.SIGINT:  # SIGTERM comes from more than one side when a run is ended
                raise KeyboardInterrupt
            return
        self._asked_to_stop = True
        more = "; Ctrl-C once more stops at once" if number == signal.SIGINT else ""  # else nobody at a terminal asks
        with suppress(OSError):  # who read this may be gone
            print(f"stopping after this step, with its state saved{more}", flush=True)


def _copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _is_last_epoch(trainer: lightning.Trainer) -> bool:
    return trainer.current_epoch + 1 == trainer.max_epochs


def _is_validation_next(trainer: lightning.Trainer) -> bool:
    loop: Any = trainer.fit_loop
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def _is_better(score: float, best: float, monitor: str) -> bool:
    sign = 1 if monitor.endswith("accuracy") else -1
    return sign * score > sign * best or math.isnan(best)
