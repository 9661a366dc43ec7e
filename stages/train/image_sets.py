"""The images of a split, decoded: once into memory where they fit, else into a file, else as they are needed.

All ways give the same pixels: where an image comes from is a matter of hardware, never of results.
"""

import math
import os
import tempfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from lightline.data.dataset import Dataset, pixel_stacks
from lightline.errors import LightlineError
from lightline.models.transforms import CropAndResize
from stages.train.photo import WholeImage
from stages.train.shared_batches import DecodedBatches

_CHUNK, _CHUNK_BYTES = 512, 2**23  # images decoded at a time; workers send them through shared memory, which is scarce
_WORTH_WORKERS, _WORTH_PIXELS = 5000, 2**29  # images, and their pixels: seconds of decoding


class Batch(NamedTuple):
    """images: uint8 [batch, size, size, 3] from the loader, float [batch, 3, size, size] on the device; targets: int64
    [batch], or float [batch, classes] where images are mixed; rows: int64 [batch], of the dataset.
    """

    images: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor


class ImageDataset(TorchDataset):
    """Images decoded whenever they are asked for."""

    def __init__(self, dataset: Dataset, rows: np.ndarray, transform: CropAndResize | WholeImage):
        self.rows = torch.from_numpy(rows)
        self.labels = torch.from_numpy(dataset.labels[rows]).long()
        self.dataset = dataset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: torch.Tensor) -> Batch:
        """Give a whole batch at once; positions: int64 [batch], below len(self)."""
        return self.batch(positions, self.images_at(positions))

    def batch(self, positions: torch.Tensor, images: torch.Tensor) -> Batch:
        """Add to images that are there already what belongs to them."""
        positions = positions.to(self.labels.device)
        return Batch(images, self.labels[positions], self.rows[positions])

    @property
    def input_size(self) -> int:
        """Height and width of the images in pixels."""
        return self.transform.input_size

    def images_at(self, positions: torch.Tensor) -> torch.Tensor:
        """Give the images at these positions: uint8 [len(positions), size, size, 3]."""
        images = torch.empty((len(positions), self.input_size, self.input_size, 3), dtype=torch.uint8)
        self.decode(positions, images)
        return images

    @torch.no_grad()
    def decode(self, positions: torch.Tensor, images: torch.Tensor) -> None:
        """Write the images of these positions into uint8 [len(positions), size, size, 3]."""
        done = 0
        for stack in pixel_stacks(self.dataset, self.rows[positions].numpy()):
            pixels = torch.from_numpy(stack)
            if stack.shape[1:3] != (self.input_size, self.input_size) or self.transform.crop_pct < 1:
                pixels = self.transform(pixels).round_().clamp_(0, 255).byte()
            images[done : done + len(pixels)] = pixels
            done += len(pixels)


class InMemoryImageDataset(ImageDataset):
    """Images decoded once; with a folder, into a file there that is mapped into memory and ends with the process."""

    def __init__(
        self,
        dataset: Dataset,
        rows: np.ndarray,
        transform: CropAndResize | WholeImage,
        num_workers: int = 0,
        folder: Path | None = None,
    ):
        """Take rows; num_workers: processes to decode in, where there is so much that they pay for their start."""
        super().__init__(dataset, rows, transform)
        num_pixels = int((dataset.column("height")[rows].astype(np.int64) * dataset.column("width")[rows]).sum())
        is_worth = len(rows) >= _WORTH_WORKERS or num_pixels >= _WORTH_PIXELS
        self._num_workers, self._folder = num_workers if is_worth else 0, folder

    @cached_property
    def images(self) -> torch.Tensor:
        """uint8 [num_images, size, size, 3], decoded when they are first asked for: a last layer is trained without."""
        shape = (len(self), self.input_size, self.input_size, 3)
        images = torch.empty(shape, dtype=torch.uint8) if self._folder is None else _in_file(shape, self._folder)
        self._decode_all(images)
        return images

    def images_at(self, positions: torch.Tensor) -> torch.Tensor:
        return self.images.index_select(0, positions.to(self.images.device))

    def move_to(self, device: torch.device, fraction: float) -> None:
        """Decode the images, and keep them on an accelerator, where they take at most this fraction of its free memory.

        Now, whatever the device: a training's clock and its handling of Ctrl-C are for steps, not for minutes of this.
        """
        num_bytes = self.images.nbytes
        if device.type == "cuda" and num_bytes <= fraction * torch.cuda.mem_get_info(device)[0]:
            self.images, self.labels, self.rows = (
                tensor.to(device) for tensor in (self.images, self.labels, self.rows)
            )

    def _decode_all(self, images: torch.Tensor) -> None:
        size = self.input_size
        chunk = max(1, min(_CHUNK, _CHUNK_BYTES // (size * size * 3)))
        chunks = torch.arange(len(self)).split(chunk)
        pictures = ImageDataset(self.dataset, self.rows.numpy(), self.transform)
        batches: Iterable[Batch] = map(pictures.__getitem__, chunks)
        if self._num_workers:
            try:
                batches = DecodedBatches(pictures, chunks, chunk, self._num_workers)
            except LightlineError as error:  # too little shared memory
                print(f"warning: images are decoded in one process. {error}", flush=True)
        done = 0
        for batch in batches:
            images[done : done + len(batch.images)] = batch.images
            done += len(batch.images)


def _in_file(shape: tuple[int, ...], folder: Path) -> torch.Tensor:
    """Make a tensor of bytes in a file that has no name any more."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # to write where a disk turns out to have no room would end the process
            os.posix_fallocate(file.fileno(), 0, max(1, math.prod(shape)))
        return torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=torch.uint8).view(shape)


def channel_statistics(pictures: ImageDataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation of each channel of all images, in units of 0 to 1; exact."""
    # From counts of the 256 values: no float copy of the images, and the same result in any order.
    counts = torch.zeros((3, 256), dtype=torch.int64)
    for positions in torch.arange(len(pictures)).split(_CHUNK):
        images = pictures.images_at(positions)
        counts += torch.stack([images[..., channel].flatten().bincount(minlength=256) for channel in range(3)])
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ values
    std = ((share @ values**2) - mean**2).clamp(min=0).sqrt()
    # A channel of one single value carries nothing; dividing by one keeps it finite.
    std = torch.where(std > 0, std, 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())
