"""The loop that one would write without Lightning, over the project's own network, images, loss and optimizer."""

from typing import Any

import torch

from lightline.config.training import Trainer
from stages.train.image_sets import Batch
from stages.train.precision import choose_precision
from stages.train.randomness import seed_generators

_HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Loop:
    """As much of Lightning's Trainer as module and data ask for, and its work.

    data, module: of `stages.train.fit.prepare`. Each epoch is validated, as the Trainer does it.
    """

    global_rank, world_size, current_epoch, training = 0, 1, 0, True

    def __init__(self, settings: Trainer, data: Any, module: Any, device: torch.device):
        self.max_epochs, self.precision, self.device = settings.max_epochs, choose_precision(settings, device), device
        self.data, self.module = data, module
        batches, limit = data.num_train_batches(1), settings.limit_train_batches
        self.num_steps = min(batches, limit) if isinstance(limit, int) else batches
        self.estimated_stepping_batches = self.num_steps * self.max_epochs

    def train(self) -> None:
        """Train the module's network where it stands, for all epochs."""
        self.data.trainer = self.module.trainer = self
        self.module.to(self.device)
        configured = self.module.configure_optimizers()
        self._optimizer, self._schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "16-mixed")
        for epoch in range(self.max_epochs):
            self.current_epoch = epoch
            self._train_epoch()
            self._validate()

    def _train_epoch(self) -> None:
        self.training, loader = True, self.data.train_dataloader()
        loader.sampler.set_epoch(self.current_epoch)
        network = self.module.network.train()
        for number, batch in enumerate(loader):
            if number == self.num_steps:
                break
            seed_generators(number, self.device)
            images, targets, _ = self._ready(batch)
            with self._autocast():
                loss = self.module.loss(network(images), targets)
            self._optimizer.zero_grad()
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimizer)
            self._scaler.update()
            self._schedule.step()

    @torch.no_grad()
    def _validate(self) -> None:
        self.training, network = False, self.module.network.eval()
        for batch in self.data.val_dataloader():
            with self._autocast():
                network(self._ready(batch).images)

    def _ready(self, batch: Batch) -> Batch:
        return self.data.on_after_batch_transfer(Batch(*(part.to(self.device) for part in batch)), 0)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, _HALF.get(self.precision), enabled=self.precision in _HALF)
