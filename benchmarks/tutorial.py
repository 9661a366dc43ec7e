"""The CIFAR-10 tutorial's training, as it stands there: its CNN, a transform an image, a log and a metric a step."""

import time
from typing import Any

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.sources import cifar_folder
from lightline.models.build import cnn

_BATCH, _LEARNING_RATE = 32, 2e-4


def seconds_per_image(num_images: int) -> float:
    """Measure seconds inside `fit` an image, without validation, which the tutorial adds."""
    transform = v2.Compose(
        [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.5,) * 3, (0.5,) * 3)]
    )
    images = ImageFolder(cifar_folder() / "train", transform)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:num_images]
    # Decoded before, as in the other loops: torchvision's CIFAR10, which the tutorial uses, holds pixels.
    decoded = [images.loader(images.samples[number][0]) for number in chosen.tolist()]
    labels = [images.targets[number] for number in chosen.tolist()]
    loader = DataLoader(_Decoded(decoded, labels, transform), _BATCH, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    module = _Tutorial()
    started = time.perf_counter()
    trainer.fit(module, loader)
    return (time.perf_counter() - started) / num_images


class _Decoded(torch.utils.data.Dataset):
    def __init__(self, images: list[Any], labels: list[int], transform: Any):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[number]), self.labels[number]


class _Tutorial(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = cnn(32, 10)
        self.accuracy = MulticlassAccuracy(10)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = nn.functional.cross_entropy(logits, labels)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        self.log("train_acc", self.accuracy(logits, labels), on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), _LEARNING_RATE)
