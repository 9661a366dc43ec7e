"""Lightning's Trainer, set up from the parameters."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry

from lightline.config.params import Params
from lightline.config.training import Trainer as Settings
from lightline.errors import ParameterError
from lightline.extensions import build_extension
from lightline.models.device import choose_device
from lightline.runtime.origin import records
from lightline.runtime.ranks import is_first_process
from lightline.runtime.state_store import StateStore
from stages.train.averaging import ExponentialMovingAverage
from stages.train.callbacks import FiniteLoss, Progress
from stages.train.history import History
from stages.train.lightning_overhead import NoProfiler
from stages.train.precision import choose_precision
from stages.train.state_files import StateFiles
from stages.train.states import SaveState
from stages.train.sync_batchnorm import BatchNormSync

# torch 2.14 deprecated what Lightning 2.6 gathers metrics with.
warnings.filterwarnings("ignore", "torch.distributed.nn.functional.all_gather is deprecated")
# What Lightning says of the hardware it does not find, and where else one could log.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
# Lightning 2.6 calls torch's pytree in a way that torch 2.14 deprecated: Lightning-AI/pytorch-lightning#21326.
warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated")
# Resumed in the middle of an epoch, it goes on with the next batch: `stages.train.datamodule` takes care of that.
warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
# Where less than five steps are profiled, it takes them all.
warnings.filterwarnings("ignore", "The PyTorch Profiler default schedule will be overridden")
# Batch normalisation that goes by statistics which weights brought along: `Classifier.train`.
warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode at the start of training")
# The images are in memory: there is nothing for worker processes to do.
warnings.filterwarnings("ignore", ".*does not have many workers")

# DDP as two processes can do it that share one GPU, which NCCL refuses. Lightning has no name for it.
StrategyRegistry.register("ddp_gloo", DDPStrategy, process_group_backend="gloo")

_PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def build_trainer(params: Params) -> lightning.Trainer:
    """Build a Trainer for the hardware, with early stopping and averaging as the parameters say.

    Raises:
        ParameterError: Lightning refuses a setting, or the hardware it asks for is not there.
    """
    settings, hardware, device = params.trainer, params.hardware, choose_device(params.hardware)
    show_bar = sys.stdout.isatty()
    # Else torch.use_deterministic_algorithms also fills all new memory before it is written: a twentieth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    callbacks = [*_optional_callbacks(params)]  # first: an error of theirs is not the hardware's
    try:
        trainer = lightning.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            strategy=hardware.strategy,
            num_nodes=hardware.num_nodes,
            precision=choose_precision(settings, device),  # type: ignore[arg-type]
            gradient_clip_val=settings.gradient_clip_val,
            gradient_clip_algorithm=settings.gradient_clip_algorithm,
            accumulate_grad_batches=settings.accumulate_grad_batches,
            deterministic=settings.deterministic,
            **_extent(settings),
            detect_anomaly=hardware.detect_anomaly,
            callbacks=[*callbacks, *([Progress()] if show_bar else [])],
            logger=False,
            enable_checkpointing=False,  # `keep_states` adds ours
            profiler=_profiler(hardware.profiler),
            enable_progress_bar=show_bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the sampler takes its own share, as a function of seed and epoch
            plugins=[StateFiles(), *([BatchNormSync(device.type == "cpu")] if settings.sync_batchnorm else [])],
        )
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise ParameterError(
            f"Lightning cannot train with hardware = {hardware.model_dump()} and trainer.precision = "
            f"{settings.precision!r}: {error}"
        ) from error
    return trainer


def keep_states(
    trainer: lightning.Trainer, params: Params, folder: Path, history: History, callbacks: Sequence[Callback] = ()
) -> SaveState:
    """Have a Trainer keep its history and its state in a folder, and end where the loss is no number.

    callbacks: that come before the Trainer's own.
    """
    finite_loss = FiniteLoss()
    states = SaveState(folder, params, finite_loss, history)
    own: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    trainer.callbacks = [history, *callbacks, *own, finite_loss, states]  # type: ignore[attr-defined]
    return states


def send_states(trainer: lightning.Trainer, store: StateStore) -> None:
    """Have each state that the Trainer saves sent to a store, too."""
    files = trainer.strategy.checkpoint_io
    assert isinstance(files, StateFiles)
    files.store = store


def _extent(settings: Settings) -> dict[str, Any]:
    """Say how much is trained and validated.

    Lightning's own fast_dev_run counts in steps, and could not be resumed in an epoch's middle; its overfit_batches
    replaces our sampler of batches, where `stages.train.datamodule` keeps an epoch's order.
    """
    limits = ("limit_train_batches", "limit_val_batches")
    extent = settings.model_dump(include={"max_epochs", *limits, "val_check_interval", "check_val_every_n_epoch"})
    if settings.fast_dev_run:
        extent |= dict.fromkeys(limits, int(settings.fast_dev_run))
        extent |= {"max_epochs": 1, "val_check_interval": 1.0, "check_val_every_n_epoch": 1}
        if is_first_process():
            print(f"trainer.fast_dev_run = {settings.fast_dev_run}: a trial, whose model is of no use", flush=True)
    if settings.overfit_batches:
        extent |= dict.fromkeys(limits, settings.overfit_batches)
    return extent


def _profiler(name: str | None) -> Profiler:
    if name is None:
        return NoProfiler()
    folder = records() / "profiles"
    for old in folder.glob(f"*-{name}*"):
        old.unlink(missing_ok=True)  # Lightning appends
    print(f"what takes time in training: {folder}/fit-{name}*, when it ends", flush=True)
    return _PROFILERS[name](dirpath=folder, filename=name)


def _optional_callbacks(params: Params) -> Iterator[Callback]:
    settings = params.trainer
    if settings.early_stopping_patience is not None:
        patience = settings.early_stopping_patience
        # At each validation: Lightning's own choice takes val_check_interval = 1, of a batch, for 1.0.
        yield EarlyStopping(
            settings.monitor, mode=_mode(settings.monitor), patience=patience, check_on_train_epoch_end=False
        )
    if settings.ema_decay is not None:
        yield ExponentialMovingAverage(settings.ema_decay, params.begins_fitted)
    for one in settings.callbacks:
        yield build_extension("callback", one.name, one.settings)


def _mode(monitor: str) -> str:
    return "max" if monitor.endswith("accuracy") else "min"
