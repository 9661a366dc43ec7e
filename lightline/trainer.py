"""Lightning's Trainer, set up from the parameters; its state for resuming kept under the fingerprint."""

import fcntl
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint

from lightline.callbacks import Progress
from lightline.errors import ParameterError
from lightline.frozen_body import FrozenBody
from lightline.inference import choose_device
from lightline.origin import records
from lightline.params import Params
from lightline.precision import choose_precision

# What Lightning says of the hardware it does not find, and where else one could log.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
# Lightning 2.6 calls torch's pytree in a way that torch 2.14 deprecated: Lightning-AI/pytorch-lightning#21326.
warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated")
# That a folder of unfinished training is not empty is its purpose.
warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
# The images are in memory: there is nothing for worker processes to do.
warnings.filterwarnings("ignore", ".*does not have many workers")

_STATE_VARIABLE = (
    "LIGHTLINE_TRAINING_STATE"  # tells the other processes of a distributed run where the first one keeps it
)

_STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


@contextmanager
def training_state(fingerprint: str) -> Iterator[Path]:
    """The folder that holds unfinished training of this fingerprint; deleted when the block ends without an error.

    Two runs of one fingerprint at once would write over each other: the second gets a folder of its own.
    """
    if _STATE_VARIABLE in os.environ:
        yield Path(os.environ[_STATE_VARIABLE])
        return
    folder = records() / "training" / fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("The same training is under way in another process; this one starts from the beginning.")
            folder = Path(tempfile.mkdtemp(dir=folder.parent, prefix="second-"))
        os.environ[_STATE_VARIABLE] = str(folder)
        try:
            yield folder
        finally:
            del os.environ[_STATE_VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


def build_trainer(params: Params, state: Path, callbacks: list[Callback]) -> lightning.Trainer:
    """A Trainer with checkpoints in `state`, early stopping and averaging as the parameters say.

    Raises:
        ParameterError: Lightning refuses a setting, or the hardware it asks for is not there.
    """
    settings, hardware = params.trainer, params.hardware
    callbacks = [*callbacks, *_optional_callbacks(params), *_checkpoints(params, state)]
    show_bar = any(isinstance(callback, Progress) for callback in callbacks)
    if sys.stdout.isatty() and not show_bar:
        callbacks.append(Progress())
        show_bar = True
    _skip_empty_hooks(callbacks)
    try:
        trainer = lightning.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            strategy=hardware.strategy,
            num_nodes=hardware.num_nodes,
            max_epochs=settings.max_epochs,
            precision=choose_precision(settings, choose_device(hardware)),  # type: ignore[arg-type]
            gradient_clip_val=settings.gradient_clip_val,
            gradient_clip_algorithm=settings.gradient_clip_algorithm,
            accumulate_grad_batches=settings.accumulate_grad_batches,
            deterministic=settings.deterministic,
            limit_train_batches=settings.limit_train_batches,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=show_bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the sampler takes its own share, as a function of seed and epoch
            default_root_dir=state,
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ParameterError(
            f"Lightning cannot train with hardware = {hardware.model_dump()} and trainer.precision = "
            f"{settings.precision!r}: {error}"
        ) from error
    if settings.freeze_epochs and trainer.world_size > 1 and hardware.strategy in ("auto", "ddp"):
        raise ParameterError(
            f"trainer.freeze_epochs = {settings.freeze_epochs} on {trainer.world_size} devices needs "
            "hardware.strategy = ddp_find_unused_parameters_true: plain ddp waits for the frozen layers' gradients."
        )
    return trainer


def _skip_empty_hooks(callbacks: list[Callback]) -> None:
    """Take from callbacks the hooks of a step that they have only inherited: Lightning calls those in vain, six a step.

    It skips what cannot be called.
    """
    for callback in callbacks:
        for hook in _STEP_HOOKS:
            if getattr(type(callback), hook) is getattr(Callback, hook):
                setattr(callback, hook, None)


def _checkpoints(params: Params, state: Path) -> Iterator[Callback]:
    """best.ckpt by the monitored metric, and last.ckpt after every epoch."""
    monitor = params.trainer.monitor
    yield ModelCheckpoint(state, "best", monitor=monitor, mode=_mode(monitor), enable_version_counter=False)
    # Not save_last of the one above, which writes last.ckpt only when there is a new best.
    yield ModelCheckpoint(state, "last", save_top_k=1, enable_version_counter=False)


def _optional_callbacks(params: Params) -> Iterator[Callback]:
    settings = params.trainer
    if settings.early_stopping_patience is not None:
        yield EarlyStopping(settings.monitor, mode=_mode(settings.monitor), patience=settings.early_stopping_patience)
    if settings.ema_decay is not None:
        yield EMAWeightAveraging(decay=settings.ema_decay)
    if settings.freeze_epochs:
        yield FrozenBody(settings.freeze_epochs)


def _mode(monitor: str) -> str:
    return "max" if monitor.endswith("accuracy") else "min"
