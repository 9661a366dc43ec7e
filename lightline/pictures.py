"""The images of a split at the network's size: decoded once into memory where they fit, else as they are needed.

Both ways give the same pixels: where an image comes from is a matter of hardware, never of results.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import psutil
import torch
from torch.utils.data import Dataset as TorchDataset

from lightline.dataset import Dataset
from lightline.inference import pixel_batches
from lightline.transforms import CropAndResize

_DECODE_BATCH = 512  # images


class Batch(NamedTuple):
    """images: uint8 [batch, size, size, 3] from the loader, float [batch, 3, size, size] on the device; targets: int64
    [batch], or float [batch, classes] where images are mixed; rows: int64 [batch], of the dataset.
    """

    images: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor


class Pictures(TorchDataset):
    """Images decoded whenever they are asked for."""

    def __init__(self, dataset: Dataset, rows: np.ndarray, transform: CropAndResize):
        self.rows = torch.from_numpy(rows)
        self.labels = torch.from_numpy(dataset.labels[rows]).long()
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch at once, which DataLoader asks for where this method exists."""
        index = torch.tensor(indices, dtype=torch.int64)
        return Batch(self.images_at(index), self.labels[index], self.rows[index])

    def images_at(self, index: torch.Tensor) -> torch.Tensor:
        """uint8 [len(index), size, size, 3]."""
        size = self.transform.input_size
        images = torch.empty((len(index), size, size, 3), dtype=torch.uint8)
        done = 0
        for stack in self._stacks(self.rows[index].numpy()):
            images[done : done + len(stack)] = stack
            done += len(stack)
        return images

    @torch.no_grad()
    def _stacks(self, rows: np.ndarray) -> Iterator[torch.Tensor]:
        size = self.transform.input_size
        for stacks in pixel_batches(self.dataset, rows, _DECODE_BATCH):
            for stack in stacks:
                pixels = torch.from_numpy(stack)
                if stack.shape[1:3] != (size, size) or self.transform.crop_pct < 1:
                    pixels = self.transform(pixels).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1)
                yield pixels


class PicturesInMemory(Pictures):
    """Images decoded once.

    Attributes:
        images: uint8 [num_images, size, size, 3].
    """

    def __init__(self, dataset: Dataset, rows: np.ndarray, transform: CropAndResize):
        super().__init__(dataset, rows, transform)
        self.images = super().images_at(torch.arange(len(rows)))

    def images_at(self, index: torch.Tensor) -> torch.Tensor:
        return self.images[index]


def fits_memory(num_images: int, input_size: int, fraction: float) -> bool:
    """Whether the decoded images take at most this fraction of the memory that is free."""
    return num_images * input_size * input_size * 3 <= fraction * psutil.virtual_memory().available


def channel_statistics(pictures: Pictures) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of all images, in units of 0 to 1; exact."""
    # From counts of the 256 values: no float copy of the images, and the same result in any order.
    counts = torch.zeros((3, 256), dtype=torch.int64)
    for index in torch.arange(len(pictures)).split(_DECODE_BATCH):
        images = pictures.images_at(index)
        counts += torch.stack([images[..., channel].flatten().bincount(minlength=256) for channel in range(3)])
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ values
    std = ((share @ values**2) - mean**2).clamp(min=0).sqrt()
    # A channel of one single value carries nothing; dividing by one keeps it finite.
    std = torch.where(std > 0, std, 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())
