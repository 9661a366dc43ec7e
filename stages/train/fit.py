"""From data and parameters to checkpoints: set up, fit, and keep what came out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch

from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import Splits
from lightline.files import write_csv, write_json
from lightline.models.build import SeesData, build_network
from lightline.models.checkpoint import BEST, LAST, Checkpoint, save_checkpoint
from lightline.models.device import choose_device
from lightline.models.inference import predict_logits
from lightline.models.logits import write_logits
from lightline.runtime.tracking import Run
from stages.train.callbacks import HISTORY_COLUMNS, History
from stages.train.curves import draw_curves
from stages.train.datamodule import ImageDataModule
from stages.train.epoch_threads import EpochThreads
from stages.train.fingerprint import train_params
from stages.train.module import Classifier, class_weights
from stages.train.samples import SamplePredictions
from stages.train.states import FINISHED, Best, SaveState
from stages.train.trainer import build_trainer

REPORTS = Path("reports/train")
_PREPARATION_IMAGES = 5000  # training images from which a network may fit its first layer


@dataclass(frozen=True)
class Task:
    """What is to be trained on what."""

    params: Params
    dataset: Dataset
    splits: Splits
    fingerprint: str


def fit(task: Task, folder: Path, state: Path | None, run: Run) -> ImageDataModule:
    """Train, or go on from a state in `folder`, which holds a finished one afterwards."""
    data, module = prepare(task)
    callbacks = [EpochThreads(task.params.hardware), History(run), SamplePredictions(run, data, task.dataset)]
    trainer = build_trainer(task.params, folder, callbacks)
    if state is not None and state.name == FINISHED:
        print("this training is finished already: its results are written", flush=True)
        return data
    if state is not None:
        print(f"going on with the unfinished training of fingerprint {task.fingerprint[:16]}", flush=True)
    try:
        trainer.fit(module, data, ckpt_path=state, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    return data


def prepare(task: Task) -> tuple[ImageDataModule, Classifier]:
    """The images, decoded, and the network before its first step."""
    params = task.params
    lightning.seed_everything(params.seed, verbose=False)
    data = ImageDataModule(params, task.dataset, task.splits)
    num_classes = len(task.dataset.classes)
    weights = class_weights(params.loss, data.train.labels.numpy(), num_classes)
    network = build_network(params.model, num_classes)
    if isinstance(network, SeesData):
        network.prepare(data.sample(_PREPARATION_IMAGES))
    module = Classifier(network, params, weights)
    if params.trainer.compile:
        network.compile()
    return data, module


def write_outputs(task: Task, folder: Path, data: ImageDataModule) -> dict[str, Any]:
    """Write models/checkpoints/ and reports/train/ from a finished state; the metrics of the best epoch come back."""
    state = torch.load(folder / FINISHED, map_location="cpu", weights_only=True)
    rows: list[dict[str, float]] = state["callbacks"][History.__name__]["rows"]
    torch.set_num_threads(state["callbacks"][EpochThreads.__name__]["number"])
    best: Best = state["callbacks"][SaveState.__name__]["best"]
    best_row = rows[best["epoch"]]
    metrics = {"best_epoch": best["epoch"] + 1, "epochs": len(rows)}
    metrics |= {name: best_row[name] for name in HISTORY_COLUMNS[1:-1]}
    checkpoint = _checkpoint(task, data, best["weights"], best_row)
    save_checkpoint(checkpoint, BEST)
    save_checkpoint(_checkpoint(task, data, _network_weights(state), rows[-1]), LAST)
    _write_val_logits(task, data, checkpoint)
    write_csv(REPORTS / "history.csv", HISTORY_COLUMNS, [[row[name] for name in HISTORY_COLUMNS] for row in rows])
    draw_curves(rows, best["epoch"] + 1, REPORTS / "curves.png")
    # `dvc exp show` lists what stands in metrics: so an experiment is found by the fingerprint of a file.
    write_json(REPORTS / "metrics.json", {"fingerprint": task.fingerprint[:16], **metrics})
    return metrics


def _network_weights(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    prefix = "network."
    return {name.removeprefix(prefix): value for name, value in state["state_dict"].items() if name.startswith(prefix)}


def _checkpoint(
    task: Task, data: ImageDataModule, weights: dict[str, torch.Tensor], row: dict[str, float]
) -> Checkpoint:
    return Checkpoint(
        fingerprint=task.fingerprint,
        dataset=task.dataset.digest,
        classes=task.dataset.classes,
        params=train_params(task.params),
        preprocessing=data.preprocessing.as_dict(),
        epoch=int(row["epoch"]),
        metrics={name: row[name] for name in ("val_loss", "val_accuracy")},
        state_dict=weights,
    )


def _write_val_logits(task: Task, data: ImageDataModule, best: Checkpoint) -> None:
    """The best checkpoint's logits on val, from which `test` fits its temperature without reading a val image."""
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
