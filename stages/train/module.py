"""What Lightning trains: a network, its loss, its optimizer, and sums from which an epoch's metrics come."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from lightline.config.params import Params
from lightline.config.training import Loss
from stages.train.depthwise import depthwise_gradients
from stages.train.image_sets import Batch
from stages.train.lightning_overhead import LeanModule
from stages.train.optimizers import build_optimizer, build_schedule
from stages.train.precision import matrix_dtype
from stages.train.randomness import seed_generators, step_seed


class Sums:
    """Loss, correct answers, images and their weight of an epoch so far; kept on the device, read once an epoch."""

    def __init__(self):
        # In float64, from which what a few steps have added can be taken.
        self.loss, self.correct = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64)
        self.images, self.weight = 0, 0

    def add(self, loss: torch.Tensor, correct: torch.Tensor, num_images: int, weight: torch.Tensor | int) -> None:
        """Add a batch; loss: summed over its images; weight: the sum of their weights in it."""
        self.loss += loss
        self.correct += correct
        self.images += num_images
        self.weight += weight

    def to(self, device: torch.device) -> None:
        self.loss, self.correct = self.loss.to(device, _wide(device)), self.correct.to(device)

    def totals(self) -> torch.Tensor:
        """Stack loss, correct, images and weight: float64 or, on devices without it, float32 [4]."""
        sums, device = (self.loss, self.correct, self.images, self.weight), self.loss.device
        return torch.stack([torch.as_tensor(one, dtype=_wide(device), device=device) for one in sums])

    def set(self, totals: torch.Tensor) -> None:
        """Go on from what `totals` gave."""
        loss, correct, num_images, self.weight = totals.tolist()
        self.loss, self.correct = torch.tensor(loss, dtype=torch.float64), torch.tensor(int(correct))
        self.images = int(num_images)

    def clear(self) -> None:
        self.loss, self.correct = torch.zeros_like(self.loss), torch.zeros_like(self.correct)
        self.images, self.weight = 0, 0


def _wide(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


class Classifier(LeanModule):
    """Cross-entropy training of any network from images to logits.

    Loss and accuracy are summed as tensors and reduced once an epoch: logging every step can cost more than the step.
    """

    def __init__(
        self,
        network: nn.Module,
        params: Params,
        class_weights: torch.Tensor | None = None,
        keep_statistics: bool = False,
    ):
        """Take a network; keep_statistics: batch normalisation goes by those it has, in training too.

        Those that a network brought along come from a million images; a few hundred of one's own, a batch at a time,
        spoil them (1,000 CIFAR images at 128 pixels: accuracy 0.78 with the old statistics, 0.66 with new ones).
        """
        super().__init__()
        # Convolutions in bfloat16 and on tensor cores take half the time in this layout; values do not change.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.params = params
        settings = params.loss
        self.loss = nn.CrossEntropyLoss(
            class_weights, reduction=settings.reduction, label_smoothing=settings.label_smoothing
        )
        self._summed = settings.reduction == "sum"
        # No buffers: an averaging of weights would average them too.
        self.sums = {"train": Sums(), "val": Sums()}
        self._gradients: AbstractContextManager[Any] = nullcontext()
        self._keep_statistics = keep_statistics
        if keep_statistics:  # else the network's modes are its author's: Lightning keeps what stands in eval mode
            self.train()

    def train(self, mode: bool = True) -> "Classifier":
        """Set the mode as torch does, but of batch normalisation whose statistics are kept."""
        super().train(mode)
        for layer in self.network.modules() if self._keep_statistics else ():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # Dropout and its like draw what is a function of (seed, step): a resumed run draws the same.
        seed_generators(step_seed(self.params.seed, self.trainer.fit_loop.total_batch_idx), self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        with self._gradients:
            return self._step(batch, self.sums["train"])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if len(batch.rows):  # none, where processes are more than images
            self._step(batch, self.sums["val"])

    def _step(self, batch: Batch, sums: Sums) -> torch.Tensor:
        logits = self.network(batch.images)
        targets = batch.targets
        loss = self.loss(logits, targets)
        labels = targets if targets.ndim == 1 else targets.argmax(1)
        num_images = len(labels)
        weight = self._weight(targets)
        summed = loss.detach()
        correct = (logits.argmax(1) == labels).sum()
        sums.add(summed if self._summed else summed * weight, correct, num_images, weight)
        return loss

    def _weight(self, targets: torch.Tensor) -> torch.Tensor | int:
        """Give what torch divides a batch's summed loss by for its mean: of mixed images, their number."""
        weights = self.loss.weight
        return len(targets) if weights is None or targets.ndim == 2 else weights[targets].sum()

    def on_fit_start(self) -> None:
        if not self.params.trainer.compile:  # what is compiled does not look for it
            self._gradients = depthwise_gradients(self.network, str(self.trainer.precision), self.device)
        for sums in self.sums.values():
            sums.to(self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # An epoch resumed in its middle reports the whole of it.
        checkpoint["sums"] = self._totals_of_all("train").cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        self.sums["train"].set(checkpoint["sums"][rank::world_size].sum(0))

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.epoch_metrics("val"), sync_dist=True)  # equal everywhere, which Lightning cannot know

    def epoch_metrics(self, split: str, clear: bool = True) -> dict[str, torch.Tensor]:
        """Compute <split>_loss and <split>_accuracy of all images since the sums were cleared, over all processes.

        The loss is torch's mean over all of them as one batch: a mean of the batches' own means would depend, where
        classes weigh differently, on which images meet in a batch.
        """
        loss, correct, num_images, weight = self._totals_of_all(split).sum(0)
        if clear:
            self.sums[split].clear()
        return {f"{split}_loss": loss / weight, f"{split}_accuracy": correct / num_images}

    def totals(self, split: str) -> list[float]:
        """Add up `Sums.totals` of all processes."""
        return self._totals_of_all(split).sum(0).tolist()

    def _totals_of_all(self, split: str) -> torch.Tensor:
        """Gather `Sums.totals` of all processes: [processes, 4]."""
        return torch.as_tensor(self.all_gather(self.sums[split].totals())).reshape(-1, 4)

    def configure_optimizers(self) -> Any:
        # The Trainer's, one for all processes: each would choose for its own device, and the replicas would differ.
        dtype = matrix_dtype(self.trainer.precision)
        optimizer = build_optimizer(self.params.optimizer, self.network, dtype)
        num_steps = int(self.trainer.estimated_stepping_batches)
        steps_per_epoch = num_steps / (self.trainer.max_epochs or 1)
        schedule = build_schedule(self.params.schedule, optimizer, num_steps, steps_per_epoch)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def class_weights(settings: Loss, labels: np.ndarray, num_classes: int) -> torch.Tensor | None:
    """Weigh classes, float32 [classes], with a mean of one over the training images; None for equal weights."""
    if settings.class_weights == "none":
        return None
    counts = np.bincount(labels, minlength=num_classes)
    return torch.from_numpy(len(labels) / (num_classes * np.maximum(counts, 1))).float()
