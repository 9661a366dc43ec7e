"""Training and validation images for Lightning: decoded once into one tensor, augmented as whole batches."""

from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from lightline.augmentation import Augmentation
from lightline.dataset import Dataset
from lightline.inference import pixel_batches
from lightline.params import Params
from lightline.randomness import permutation
from lightline.splits import Splits
from lightline.transforms import IMAGENET_MEAN, IMAGENET_STD, CropAndResize, Normalize, Preprocessing

_DECODE_BATCH = 512


class Batch(NamedTuple):
    """images: uint8 [batch, size, size, 3] from the loader, float [batch, 3, size, size] on the device; targets: int64
    [batch], or float [batch, classes] where images are mixed; rows: int64 [batch], of the dataset.
    """

    images: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor


class Pictures(TorchDataset):
    """Images at the network's size, in memory: uint8 [num_images, size, size, 3]."""

    def __init__(self, dataset: Dataset, rows: np.ndarray, input_size: int, crop_pct: float):
        self.rows = torch.from_numpy(rows)
        self.labels = torch.from_numpy(dataset.labels[rows]).long()
        self.images = _decode(dataset, rows, CropAndResize(input_size, crop_pct))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch at once, which DataLoader asks for where this method exists."""
        index = torch.tensor(indices)
        return Batch(self.images[index], self.labels[index], self.rows[index])


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
        return Pictures(dataset, rows, self.params.model.input_size, self.params.model.crop_pct)

    def _loader(self, pictures: Pictures, sampler: Sampler[int] | list[int], drop_last: bool) -> DataLoader:
        return DataLoader(
            pictures,
            batch_size=self.params.trainer.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            collate_fn=_as_is,
            pin_memory=torch.cuda.is_available(),
        )

    def _measure(self) -> Preprocessing:
        model = self.params.model
        mean, std = (IMAGENET_MEAN, IMAGENET_STD)
        if model.normalize == "dataset":
            mean, std = channel_statistics(self.train.images)
        return Preprocessing(model.input_size, model.crop_pct, mean, std)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 [n, height, width, 3], in units of 0 to 1; exact."""
    # From counts of the 256 values: no float copy of the images, and the same result in any order.
    counts = torch.stack([torch.bincount(images[..., channel].flatten(), minlength=256) for channel in range(3)])
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ values
    std = ((share @ values**2) - mean**2).clamp(min=0).sqrt()
    # A channel of one single value carries nothing; dividing by one keeps it finite.
    std = torch.where(std > 0, std, 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


@torch.no_grad()
def _decode(dataset: Dataset, rows: np.ndarray, transform: CropAndResize) -> torch.Tensor:
    size = transform.input_size
    images = torch.empty((len(rows), size, size, 3), dtype=torch.uint8)
    done = 0
    for stacks in pixel_batches(dataset, rows, _DECODE_BATCH):
        for stack in stacks:
            pixels = torch.from_numpy(stack)
            if stack.shape[1:3] != (size, size) or transform.crop_pct < 1:
                pixels = transform(pixels).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1)
            images[done : done + len(stack)] = pixels
            done += len(stack)
    return images


def _as_is(batch: Any) -> Any:
    """Instead of collating: the loader's dataset gives whole batches."""
    return batch
