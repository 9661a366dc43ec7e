"""Training and validation images for Lightning: in an order that is a function of (seed, epoch), augmented as whole
batches on the device.
"""

import shutil
from dataclasses import replace
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from lightline.config.model import LibraryModel
from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import Splits
from lightline.models.transforms import IMAGENET_MEAN, IMAGENET_STD, CropAndResize, Normalize, Preprocessing
from lightline.models.weights import weights_configuration
from lightline.runtime.allocator import keep_freed_memory
from lightline.runtime.memory import free_memory
from lightline.runtime.origin import records
from stages.train.augmentation import Augmentation
from stages.train.image_sets import Batch, ImageDataset, InMemoryImageDataset, channel_statistics
from stages.train.photo import WholeImage
from stages.train.randomness import permutation
from stages.train.shared_batches import BatchSampler, DecodedBatches

_STORED = 8 / 7  # × the input's size, for images of which parts are seen: 256 for 224
_CACHED = 2**24  # bytes of network inputs


class EpochBatches(Sampler[torch.Tensor]):
    """This process's share of a permutation that is a function of (seed, epoch), a batch of positions at a time.

    drop_last: leave out a last batch that is not full. One of a single image is left out anyway, unless it is all there
    is: it breaks batch normalisation.
    """

    def __init__(self, num_rows: int, batch_size: int, seed: int, rank: int, world_size: int, drop_last: bool):
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.shuffle = True  # False: every epoch has the batches of the first
        self._start = (0, 0)
        share = num_rows // world_size  # equal: processes that wait for each other take equal steps
        rest = share % batch_size
        self._used = share - rest if share > rest and (drop_last or rest == 1) else share

    def start_at(self, epoch: int, batch: int) -> None:
        """Leave out an epoch's first batches: resumed training had them already."""
        self.epoch, self._start = epoch, (epoch, batch)

    def set_epoch(self, epoch: int) -> None:
        """Take note of the epoch that Lightning starts."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self._used // self.batch_size)

    def __iter__(self):
        order = permutation(self.seed, self.epoch if self.shuffle else 0, self.num_rows)
        batches = order[self.rank :: self.world_size][: self._used].split(self.batch_size)
        epoch, batch = self._start
        yield from batches[batch if self.epoch == epoch else 0 :]


class ImageDataModule(lightning.LightningDataModule):
    """The train and val rows of the dataset."""

    def __init__(self, params: Params, dataset: Dataset, splits: Splits, num_processes: int = 1):
        """Find a place for the images; num_processes: of this machine, each of which has its own."""
        super().__init__()
        keep_freed_memory()
        self.params, self._num_processes = params, num_processes
        self._start = (0, 0)  # finished epochs, and finished batches of the one after them
        self.batch_size = params.trainer.batch_size  # an attribute, which Lightning's Tuner may change
        self.preprocessing = values = self._preprocessing()
        size, train = values.input_size, splits.rows("train")
        heights, widths = dataset.column("height"), dataset.column("width")
        as_answered = CropAndResize(size, values.crop_pct, values.interpolation)
        stored = as_answered
        self._promised = {"memory": 0, "disk": 0}  # bytes for images that are not decoded yet
        if params.augment.random_resized_crop is not None:
            largest = int(max(heights[train].max(), widths[train].max()))
            store_size = min(largest, params.augment.store_size or round(_STORED * size))
            stored = WholeImage(store_size, values.interpolation)
        self.train = self._pictures(dataset, train, stored)
        self.val = self._pictures(dataset, splits.rows("val"), as_answered)
        if params.model.normalize == "dataset":
            mean, std = channel_statistics(self.train)
            self.preprocessing = replace(values, mean=mean, std=std)
        aspects = torch.from_numpy(widths / heights).float()
        self.augmentation = Augmentation(params.augment, params.seed, len(dataset.classes), size, aspects)
        self.normalize = Normalize(self.preprocessing)

    def setup(self, stage: str) -> None:
        """Move what makes a batch to the accelerator, and images in memory too, if it has room for them."""
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        self.normalize.to(device)
        for pictures in (self.train, self.val):
            if isinstance(pictures, InMemoryImageDataset):
                pictures.move_to(device, self.params.hardware.memory_fraction)

    def train_dataloader(self) -> DataLoader:
        batches = self._epoch_batches(self._rank, self._world_size)
        batches.shuffle = not self.params.trainer.overfit_batches
        batches.start_at(*self._start)
        return self._loader(self.train, batches)

    def num_train_batches(self, world_size: int) -> int:
        """Count the batches of an epoch that each of so many processes takes."""
        return len(self._epoch_batches(0, world_size))

    def val_dataloader(self) -> DataLoader:
        positions = torch.arange(len(self.val))[self._rank :: self._world_size]
        return self._loader(self.val, positions.split(self.batch_size))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        images, targets, rows = batch
        if self.trainer is None or not self.trainer.training:
            return Batch(self.normalize(images), targets, rows)
        epoch = self.trainer.current_epoch
        inputs = self._augmented(images, rows, epoch)
        return Batch(*self.augmentation.on_inputs(inputs, targets, rows, epoch), rows)

    def _augmented(self, images: torch.Tensor, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        """Augment and normalise: on a processor, a few images at a time that stay in its cache."""
        size = self.preprocessing.input_size
        most = max(1, _CACHED // (size * size * 3 * 4)) if images.device.type == "cpu" else len(images)
        parts = zip(images.split(most), rows.split(most), strict=True)
        return torch.cat([self.normalize(self.augmentation.on_pixels(*part, epoch)) for part in parts])

    def state_dict(self) -> dict[str, int]:
        """Say where training is: Lightning restores its own progress; the loader has to go on from there by itself."""
        assert self.trainer is not None
        loop: Any = self.trainer.fit_loop
        epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
        return {"epoch": epochs.processed, "batch": batches.processed if epochs.ready > epochs.processed else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._start = (state_dict["epoch"], state_dict["batch"])

    def sample(self, num_images: int) -> torch.Tensor:
        """Give normalised training images, float [num_images or all, 3, size, size], the same ones in every run."""
        positions = permutation(self.params.seed, 0, len(self.train))[:num_images]
        images = self.train.images_at(positions)
        if self.params.augment.random_resized_crop is not None:  # which are larger than the network's
            return self._augmented(images, self.train.rows[positions], epoch=0)
        return self.normalize(images)

    def _epoch_batches(self, rank: int, world_size: int) -> EpochBatches:
        settings = self.params.trainer
        return EpochBatches(len(self.train), self.batch_size, self.params.seed, rank, world_size, settings.drop_last)

    def _pictures(self, dataset: Dataset, rows: np.ndarray, transform: CropAndResize | WholeImage) -> ImageDataset:
        hardware, promised = self.params.hardware, self._promised
        num_bytes = len(rows) * transform.input_size**2 * 3
        in_memory, on_disk = (part / self._num_processes for part in (hardware.memory_fraction, hardware.disk_fraction))
        if num_bytes <= in_memory * (free_memory() - promised["memory"]):
            promised["memory"] += num_bytes
            return InMemoryImageDataset(dataset, rows, transform, hardware.num_workers)
        if on_disk and num_bytes <= on_disk * (shutil.disk_usage(records()).free - promised["disk"]):
            promised["disk"] += num_bytes
            return InMemoryImageDataset(dataset, rows, transform, hardware.num_workers, records())
        return ImageDataset(dataset, rows, transform)

    def _loader(self, pictures: ImageDataset, batches: BatchSampler) -> DataLoader:
        # What is in memory needs no workers: cutting a batch out of it takes less than sending it.
        in_memory = isinstance(pictures, InMemoryImageDataset)
        if not in_memory and self.params.hardware.num_workers:
            return DecodedBatches(pictures, batches, self.batch_size, self.params.hardware.num_workers)
        pin = torch.cuda.is_available() and not in_memory
        return DataLoader(pictures, batch_size=None, sampler=batches, pin_memory=pin)  # type: ignore[arg-type]

    def _preprocessing(self) -> Preprocessing:
        model = self.params.model
        assert model.input_size is not None  # `start` has looked up
        assert model.crop_pct is not None
        if isinstance(model, LibraryModel) and model.normalize == "weights":
            return replace(weights_configuration(model), input_size=model.input_size, crop_pct=model.crop_pct)
        return Preprocessing(model.input_size, model.crop_pct, IMAGENET_MEAN, IMAGENET_STD)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1
