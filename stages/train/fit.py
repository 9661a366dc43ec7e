"""From data and parameters to checkpoints: set up, fit, and keep what came out."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import Splits
from lightline.errors import LightlineError, ParameterError
from lightline.files import write_csv, write_json
from lightline.models.build import SeesData, try_size
from lightline.models.checkpoint import BEST, LAST, Checkpoint, save_checkpoint
from lightline.models.device import choose_device
from lightline.models.inference import predict_logits
from lightline.models.logits import write_logits
from lightline.runtime.state_store import FINISHED
from lightline.runtime.tracking import Run
from stages.train.curves import draw_curves
from stages.train.datamodule import ImageDataModule
from stages.train.epoch_threads import EpochThreads
from stages.train.fingerprint import train_params
from stages.train.history import COLUMNS, STEP_COLUMNS, History, Row, columns
from stages.train.linear_probe import probe
from stages.train.module import Classifier, class_weights
from stages.train.optimizers import freeze_blocks
from stages.train.samples import SamplePredictions
from stages.train.start import Start
from stages.train.states import Best
from stages.train.trainer import keep_states

REPORTS = Path("reports/train")
_PREPARATION_IMAGES = 5000  # training images from which a network may fit its first layer


@dataclass(frozen=True)
class Task:
    """What is to be trained on what."""

    start: Start
    dataset: Dataset
    splits: Splits
    fingerprint: str

    @property
    def params(self) -> Params:
        return self.start.params


@dataclass(frozen=True)
class Fitted:
    """A finished training: its data, its history, its best epoch, and the weights it ended with, on the CPU."""

    data: ImageDataModule
    rows: list[Row]
    steps: list[Row]
    best: Best
    last: dict[str, torch.Tensor]


def fit(task: Task, trainer: lightning.Trainer, folder: Path, state: Path | None, run: Run) -> Fitted:
    """Train, or go on from a state in `folder`, which holds a finished one afterwards."""
    data, module = prepare(task, trainer.num_devices)
    threads, history = EpochThreads(task.params.hardware), History(run, task.params.trainer)
    states = keep_states(trainer, task.params, folder, history, [threads, SamplePredictions(run, data, task.dataset)])
    if state is not None and state.name == FINISHED:
        print("this training is finished already: its results are written", flush=True)
        _restore(state, module, threads, history, states)
    else:
        if state is not None:
            print(f"going on with the unfinished training of fingerprint {task.fingerprint[:16]}", flush=True)
        elif task.params.trainer.linear_probe:
            metrics = probe(module, data, task.dataset)
            history.begin(metrics)
            states.begin(module.network, metrics[task.params.trainer.monitor])
        if task.params.trainer.max_epochs:
            _train(trainer, module, data, state)
    torch.set_num_threads(threads.number)  # a finished training's, too: val's logits are as it would have computed them
    if states.best is None:
        raise LightlineError(
            f"Training stopped after {trainer.global_step} steps without a validation: no epoch is the best. Have the "
            "callback that stopped it do so in on_train_batch_end, or set trainer.check_val_every_n_epoch to 1."
        )
    last = {name: value.detach().cpu() for name, value in module.network.state_dict().items()}
    return Fitted(data, history.rows, history.steps, states.best, last)


def _train(trainer: lightning.Trainer, module: Classifier, data: ImageDataModule, state: Path | None) -> None:
    settings = module.params.trainer
    if settings.max_steps is not None:
        batches, limit = data.num_train_batches(trainer.world_size), trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else max(1, int(batches * (limit or 1.0)))
        steps = math.ceil(batches / settings.accumulate_grad_batches)
        epochs = math.ceil(settings.max_steps / steps)
        trainer.fit_loop.max_epochs = min(epochs, trainer.max_epochs or epochs)
    try:
        trainer.fit(module, data, ckpt_path=state, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise ParameterError(f"trainer.deterministic = True: torch cannot do this network so. {error}") from error
    except (MisconfigurationException, ValueError) as error:  # the second of an interval longer than an epoch
        if isinstance(error, ValueError) and "val_check_interval" not in str(error):
            raise
        raise ParameterError(f"Lightning cannot train with trainer's settings: {str(error).strip()}") from error


def _restore(finished: Path, module: Classifier, *callbacks: Callback) -> None:
    """Read what a finished training left, as Lightning does where it trains on."""
    state = torch.load(finished, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    for callback in callbacks:
        callback.load_state_dict(state["callbacks"][callback.state_key])


def prepare(task: Task, num_processes: int = 1) -> tuple[ImageDataModule, Classifier]:
    """Have the images, and the network as it is before its first step.

    num_processes: that train on this machine.

    Raises:
        ParameterError: the network does not take images of a size that augment.low_resolution shows it.
    """
    params, network = task.params, task.start.network
    data = ImageDataModule(params, task.dataset, task.splits, num_processes)
    for part in params.augment.low_resolution:
        try_size(network, min(part.size, data.preprocessing.input_size), "augment.low_resolution")
    num_classes = len(task.dataset.classes)
    weights = class_weights(params.loss, data.train.labels.numpy(), num_classes)
    if isinstance(network, SeesData) and task.start.weights is None:
        network.prepare(data.sample(_PREPARATION_IMAGES))
    module = Classifier(network, params, weights, keep_statistics=params.begins_fitted)
    freeze_blocks(params.optimizer, network)
    if params.trainer.compile:
        network.compile()
    return data, module


def write_outputs(task: Task, fitted: Fitted) -> dict[str, Any]:
    """Write models/checkpoints/ and reports/train/; the metrics of the best epoch come back."""
    rows, best = fitted.rows, fitted.best
    best_row = rows[best["row"]]
    metrics = {"best_epoch": best_row["epoch"], "epochs": rows[-1]["epoch"]}
    ours = {*metrics, "fingerprint", "epoch", "step", "lr"}
    metrics |= {name: value for name, value in best_row.items() if name not in ours}
    checkpoint = _checkpoint(task, fitted.data, best["weights"], best_row)
    save_checkpoint(checkpoint, BEST)
    save_checkpoint(_checkpoint(task, fitted.data, fitted.last, rows[-1]), LAST)
    _write_val_logits(task, fitted.data, checkpoint)
    for name, table, first in (("history", rows, COLUMNS), ("steps", fitted.steps, STEP_COLUMNS)):
        header = columns(table, first)
        write_csv(REPORTS / f"{name}.csv", header, [[row.get(column, "") for column in header] for row in table])
    draw_curves(rows, best_row, REPORTS / "curves.png")
    # `dvc exp show` lists what stands in metrics: so an experiment is found by the fingerprint of a file.
    write_json(REPORTS / "metrics.json", {"fingerprint": task.fingerprint[:16], **metrics})
    return metrics


def _checkpoint(task: Task, data: ImageDataModule, weights: dict[str, torch.Tensor], row: Row) -> Checkpoint:
    return Checkpoint(
        fingerprint=task.fingerprint,
        dataset=task.dataset.digest,
        classes=task.dataset.classes,
        params=train_params(task.params),
        preprocessing=data.preprocessing,
        epoch=math.ceil(row["epoch"]),
        metrics={name: row[name] for name in ("val_loss", "val_accuracy")},
        state_dict=weights,
    )


def _write_val_logits(task: Task, data: ImageDataModule, best: Checkpoint) -> None:
    """Write the best checkpoint's logits on val: `test` fits its temperature to them without reading a val image."""
    rows = data.val.rows.cpu().numpy()
    logits = predict_logits(
        best.network(),
        task.dataset,
        rows,
        data.preprocessing,
        task.params.trainer.batch_size,
        choose_device(task.params.hardware),
    )
    ids = task.dataset.column("id")[rows]
    write_logits(ids, task.dataset.labels[rows], logits)
