"""Validation images for W&B, each with the caption "predicted / actual": some of every class after each epoch, and in
the end those of which the best network was least and most right.
"""

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from lightline.data.dataset import Dataset
from lightline.data.splits import stratified_choice
from lightline.runtime.tracking import Run
from stages.train.datamodule import ImageDataModule


class SamplePredictions(Callback):
    """The same images after every epoch: as many of every class as can be, chosen by the seed."""

    def __init__(self, run: Run, data: ImageDataModule, dataset: Dataset):
        self.run = run
        self.classes = dataset.classes
        params, rows = data.params, data.val.rows.cpu().numpy()
        chosen = stratified_choice(dataset.labels, rows, params.tracking.num_sample_images, params.seed)
        images = data.val.images_at(torch.from_numpy(np.searchsorted(rows, chosen)))
        self.labels = dataset.labels[chosen]
        self.images = images.numpy()
        self.inputs = data.normalize(images)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.sanity_checking or not len(self.images) or not trainer.is_global_zero:
            return
        with torch.no_grad():
            predicted = pl_module(self.inputs.to(pl_module.device)).argmax(1).cpu().numpy()
        captions = _captions(predicted, self.labels, self.classes)
        self.run.log_images("val_predictions", self.images, captions, step=trainer.global_step)


def log_extremes(run: Run, data: ImageDataModule, logits: np.ndarray, labels: np.ndarray, classes: list[str]) -> None:
    """Send W&B the validation images whose own class the network finds least and most likely, in that order.

    logits: float [images, classes] of the whole val split. labels: int [images].
    """
    num_images = min(data.params.tracking.num_sample_images, len(labels))
    if num_images == 0:
        return
    likely = torch.from_numpy(logits).double().log_softmax(1).numpy()[np.arange(len(labels)), labels]
    order = np.argsort(likely, kind="stable")
    step = run.step + 1
    for name, chosen in (("val_worst", order[:num_images]), ("val_best", order[::-1][:num_images])):
        images = data.val.images_at(torch.from_numpy(chosen.copy())).cpu().numpy()
        captions = _captions(logits[chosen].argmax(1), labels[chosen], classes)
        run.log_images(name, images, captions, step)
    run.log({}, step)


def _captions(predicted: np.ndarray, labels: np.ndarray, classes: list[str]) -> list[str]:
    return [f"{classes[guess]} / {classes[label]}" for guess, label in zip(predicted, labels, strict=True)]
