"""A training's state, saved while it runs, so that it can be killed at any instant and lose one interval at most.

Its files are whole or not there, with a digest beside; the last two are kept.
"""

import math
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

import lightning
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from lightline.config.params import Params
from lightline.files import file_digest, whole_file
from lightline.runtime.state_store import FINISHED, StateStore
from stages.train.callbacks import FiniteLoss
from stages.train.history import History
from stages.train.module import Classifier

_KEPT = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def state_file(folder: Path, step: int) -> Path:
    """Name the file for the state after a number of optimizer steps."""
    return folder / f"step-{step:09d}.ckpt"


class StateFiles(TorchCheckpointIO):
    """How Lightning's Trainer writes its checkpoints here.

    Its own way writes through a temporary file in another folder, which is no single step onto another file system, and
    leaves it to the system when bytes reach the disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self.store: StateStore | None = None  # which gets each state that is saved

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write it under another name in the same folder, on the disk, and then rename it; older states but one go."""
        path = Path(path)
        with whole_file(path) as temporary:
            torch.save(checkpoint, temporary)
            # First, so that a file under its own name has its digest.
            with whole_file(_digest_file(path)) as digest:
                digest.write_text(f"{file_digest(temporary)}  {path.name}\n")
        _flush_names(path.parent)
        states = _states(path.parent)
        for old in states if path.name == FINISHED else states[:-_KEPT]:
            _delete(old)
        if self.store is not None:
            self.store.send(path)

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read it on the first process, from which the others have it: its file lies on that one's machine."""
        if not torch.distributed.is_initialized():
            return super().load_checkpoint(path, *arguments, **options)
        is_first = torch.distributed.get_rank() == 0
        held = [super().load_checkpoint(path, *arguments, **options) if is_first else None]
        torch.distributed.broadcast_object_list(held)
        assert held[0] is not None
        return held[0]


def newest_state(folder: Path) -> Path | None:
    """Find the finished state, or else the last whole one; a damaged one is named and deleted."""
    for path in [folder / FINISHED, *reversed(_states(folder))]:
        if path.exists():
            if _is_whole(path):
                return path
            print(f"warning: {path} is damaged and left out; the state before it is used.", file=sys.stderr, flush=True)
            _delete(path)
    return None


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.ckpt"))


def _digest_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _is_whole(path: Path) -> bool:
    try:
        return _digest_file(path).read_text().split()[0] == file_digest(path)
    except (OSError, IndexError):
        return False


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    _digest_file(path).unlink(missing_ok=True)


def _flush_names(folder: Path) -> None:
    """Have the renaming itself on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        score = self._history.end_validation(trainer)[self._monitor]
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
