"""Training and validation images for Lightning: in an order that is a function of (seed, epoch), augmented as whole
batches on the device.
"""

from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from lightline.augmentation import Augmentation
from lightline.dataset import Dataset
from lightline.params import Params
from lightline.pictures import Batch, Pictures, PicturesInMemory, channel_statistics, fits_memory
from lightline.randomness import permutation
from lightline.splits import Splits
from lightline.transforms import IMAGENET_MEAN, IMAGENET_STD, CropAndResize, Normalize, Preprocessing


class EpochSampler(Sampler[int]):
    """This process's share of a permutation that is a function of (seed, epoch)."""

    def __init__(self, num_rows: int, seed: int, rank: int, world_size: int):
        self.num_rows = num_rows
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_rows // self.world_size  # equal shares: processes that wait for each other take equal steps

    def __iter__(self):
        order = permutation(self.seed, self.epoch, self.num_rows)
        return iter(order[self.rank :: self.world_size][: len(self)].tolist())


class ImageData(lightning.LightningDataModule):
    """The train and val rows of the dataset."""

    def __init__(self, params: Params, dataset: Dataset, splits: Splits):
        super().__init__()
        self.params = params
        self.train = self._pictures(dataset, splits.rows("train"))
        self.val = self._pictures(dataset, splits.rows("val"))
        self.preprocessing = self._measure()
        self.augmentation = Augmentation(params.augment, params.seed, len(dataset.classes))
        self.normalize = Normalize(self.preprocessing)

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(len(self.train), self.params.seed, self._rank, self._world_size)
        # A last batch of one image breaks batch normalisation; larger rests are trained on.
        rest = len(sampler) % self.params.trainer.batch_size
        return self._loader(self.train, sampler, drop_last=rest == 1 and len(sampler) > 1)

    def val_dataloader(self) -> DataLoader:
        indices = range(self._rank, len(self.val), self._world_size)
        return self._loader(self.val, list(indices), drop_last=False)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        images, targets, rows = batch
        training = self.trainer is not None and self.trainer.training
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        if training:
            images = self.augmentation.on_pixels(images, rows, epoch)
        # The permuted view of images in height-width-channel order is what torch calls channels_last.
        inputs = self.normalize.to(images.device)(images.permute(0, 3, 1, 2))
        if training:
            inputs, targets = self.augmentation.on_inputs(inputs, targets, rows, epoch)
        return Batch(inputs, targets, rows)

    def _pictures(self, dataset: Dataset, rows: np.ndarray) -> Pictures:
        model, hardware = self.params.model, self.params.hardware
        fits = fits_memory(len(rows), model.input_size, hardware.memory_fraction)
        kind = PicturesInMemory if fits else Pictures
        return kind(dataset, rows, CropAndResize(model.input_size, model.crop_pct))

    def _loader(self, pictures: Pictures, sampler: Sampler[int] | list[int], drop_last: bool) -> DataLoader:
        # What is in memory needs no workers: cutting a batch out of it takes less than sending it.
        num_workers = 0 if isinstance(pictures, PicturesInMemory) else self.params.hardware.num_workers
        return DataLoader(
            pictures,
            batch_size=self.params.trainer.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            collate_fn=_as_is,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _measure(self) -> Preprocessing:
        model = self.params.model
        mean, std = (IMAGENET_MEAN, IMAGENET_STD)
        if model.normalize == "dataset":
            mean, std = channel_statistics(self.train)
        return Preprocessing(model.input_size, model.crop_pct, mean, std)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1


def _as_is(batch: Any) -> Any:
    """Instead of collating: the loader's dataset gives whole batches."""
    return batch
