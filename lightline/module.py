"""What Lightning trains: a network, its loss, its optimizer, and sums from which an epoch's metrics come."""

from typing import Any

import lightning
import numpy as np
import torch
from torch import nn

from lightline.optimization import build_optimizer, build_schedule
from lightline.params import Loss, Params
from lightline.pictures import Batch
from lightline.randomness import step_seed

_NUM_SUMS = 3  # loss, correct, images


class Classifier(lightning.LightningModule):
    """Cross-entropy training of any network from images to logits.

    Loss and accuracy are summed as tensors and reduced once an epoch: logging every step can cost more than the step.
    """

    def __init__(self, network: nn.Module, params: Params, class_weights: torch.Tensor | None = None):
        super().__init__()
        self.network = network
        self.params = params
        self.loss = nn.CrossEntropyLoss(class_weights, label_smoothing=params.loss.label_smoothing)
        # No buffers: an averaging of weights would average them too.
        self.sums = {"train": torch.zeros(_NUM_SUMS), "val": torch.zeros(_NUM_SUMS)}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # Dropout and its like draw what is a function of (seed, step): a resumed run draws the same.
        torch.manual_seed(step_seed(self.params.seed, self.trainer.fit_loop.total_batch_idx))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._step(batch, "val")

    def _step(self, batch: Batch, split: str) -> torch.Tensor:
        logits = self.network(batch.images)
        loss = self.loss(logits, batch.targets)
        with torch.no_grad():
            labels = batch.targets if batch.targets.ndim == 1 else batch.targets.argmax(1)
            correct = (logits.argmax(1) == labels).sum()
            self.sums[split] += torch.stack([loss.detach() * len(labels), correct, loss.new_tensor(len(labels))])
        return loss

    def on_fit_start(self) -> None:
        self.sums = {split: sums.to(self.device) for split, sums in self.sums.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # An epoch resumed in its middle reports the whole of it.
        checkpoint["sums"] = self.sums

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.sums = checkpoint["sums"]

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.epoch_metrics("val"))

    def epoch_metrics(self, split: str) -> dict[str, torch.Tensor]:
        """<split>_loss and <split>_accuracy of all images since the last call, over all processes."""
        totals = torch.as_tensor(self.all_gather(self.sums[split])).reshape(-1, _NUM_SUMS).sum(0)
        self.sums[split] = torch.zeros_like(self.sums[split])
        loss, correct, num_images = totals
        return {f"{split}_loss": loss / num_images, f"{split}_accuracy": correct / num_images}

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.params.optimizer, self.network)
        num_steps = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(
            self.params.schedule, optimizer, num_steps, steps_per_epoch=num_steps / self.params.trainer.max_epochs
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def class_weights(settings: Loss, labels: np.ndarray, num_classes: int) -> torch.Tensor | None:
    """float32 [classes] with a mean of one over the training images, or None for equal weights."""
    if settings.class_weights == "none":
        return None
    counts = np.bincount(labels, minlength=num_classes)
    return torch.from_numpy(len(labels) / (num_classes * np.maximum(counts, 1))).float()
