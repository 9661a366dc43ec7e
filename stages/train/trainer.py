"""Lightning's Trainer, set up from the parameters."""

import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping

from lightline.config.params import Params
from lightline.errors import ParameterError
from lightline.models.device import choose_device
from stages.train.averaging import ExponentialMovingAverage
from stages.train.callbacks import FiniteLoss, FrozenBody, Progress
from stages.train.lightning_overhead import NoProfiler
from stages.train.precision import choose_precision
from stages.train.states import SaveState, StateFiles

# What Lightning says of the hardware it does not find, and where else one could log.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
# Lightning 2.6 calls torch's pytree in a way that torch 2.14 deprecated: Lightning-AI/pytorch-lightning#21326.
warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated")
# Resumed in the middle of an epoch, it goes on with the next batch: `stages.train.datamodule` takes care of that.
warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
# The images are in memory: there is nothing for worker processes to do.
warnings.filterwarnings("ignore", ".*does not have many workers")


def build_trainer(params: Params) -> lightning.Trainer:
    """Build a Trainer for the hardware, with early stopping and averaging as the parameters say.

    Raises:
        ParameterError: Lightning refuses a setting, or the hardware it asks for is not there.
    """
    settings, hardware = params.trainer, params.hardware
    show_bar = sys.stdout.isatty()
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
            callbacks=[*_optional_callbacks(params), *([Progress()] if show_bar else [])],
            logger=False,
            enable_checkpointing=False,  # `keep_states` adds ours
            profiler=NoProfiler(),
            enable_progress_bar=show_bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the sampler takes its own share, as a function of seed and epoch
            plugins=[StateFiles()],
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


def keep_states(trainer: lightning.Trainer, params: Params, folder: Path, callbacks: list[Callback]) -> SaveState:
    """Have a Trainer keep its state in a folder, and end where the loss is no number.

    callbacks: that come before the Trainer's own.
    """
    finite_loss = FiniteLoss()
    states = SaveState(folder, params, finite_loss)
    own: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    trainer.callbacks = [*callbacks, *own, finite_loss, states]  # type: ignore[attr-defined]
    return states


def _optional_callbacks(params: Params) -> Iterator[Callback]:
    settings = params.trainer
    if settings.early_stopping_patience is not None:
        yield EarlyStopping(settings.monitor, mode=_mode(settings.monitor), patience=settings.early_stopping_patience)
    if settings.ema_decay is not None:
        yield ExponentialMovingAverage(settings.ema_decay)
    if settings.freeze_epochs:
        yield FrozenBody(settings.freeze_epochs)


def _mode(monitor: str) -> str:
    return "max" if monitor.endswith("accuracy") else "min"
