"""Batches that worker processes decode into memory which they share with this one.

A DataLoader's workers hand over each tensor as a file descriptor of its own, by a further thread and a new connection:
for a batch of 128 small images that takes half as long as decoding them. Here a worker writes into one of a few places
that were set up once, and says no more than which:

    sampler    positions int64 [batch]
    _Tasks     → (place 0, positions), (place 1, positions), … and place 0 again      to a worker
    _Places    places[0] uint8 [batch, size, size, 3], written by the worker          (place, positions) back
    DecodedBatches → a copy of places[0] with what belongs to these positions         to training
"""

from collections.abc import Iterable, Iterator, Sized
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lightline.errors import LightlineError

_AHEAD = 2  # batches a worker, as DataLoader has it


class BatchSampler(Iterable[torch.Tensor], Sized, Protocol):
    """Positions of batches, int64 [batch] each."""


class Decoder(Protocol):
    """What decodes images, uint8 [size, size, 3], and knows what belongs to them."""

    @property
    def input_size(self) -> int: ...

    def decode(self, positions: torch.Tensor, images: torch.Tensor) -> None:
        """Write the images of these positions into uint8 [len(positions), size, size, 3]."""
        ...

    def batch(self, positions: torch.Tensor, images: torch.Tensor) -> Any:
        """Make the batch that training gets."""
        ...


class _Task(NamedTuple):
    """positions: a NumPy array, which travels in the message itself."""

    place: int
    positions: np.ndarray


class _Places(Dataset[_Task]):
    """The shared memory, and who fills it; each worker has one.

    Raises:
        LightlineError: there is too little shared memory.
    """

    def __init__(self, decoder: Decoder, num_places: int, batch_size: int):
        size = decoder.input_size
        self.decoder = decoder
        places = torch.empty((num_places, batch_size, size, size, 3), dtype=torch.uint8)
        try:
            self.places = places.share_memory_()
        except RuntimeError as error:  # torch's, whatever the system said
            raise LightlineError(
                f"The batches that worker processes decode need {places.nbytes} bytes of shared memory, which this "
                "machine does not have (`df /dev/shm`). Give it more, as by `docker run --shm-size=8g`, or set "
                "hardware.num_workers to fewer, at 0 none is needed, or trainer.batch_size to less."
            ) from error

    def images(self, task: _Task) -> torch.Tensor:
        return self.places[task.place, : len(task.positions)]

    def __getitem__(self, task: _Task) -> _Task:
        self.decoder.decode(torch.from_numpy(task.positions), self.images(task))
        return task


class _Tasks(Sampler[_Task]):
    """A place for each batch, in turn."""

    def __init__(self, batches: BatchSampler, num_places: int):
        self.batches = batches
        self.num_places = num_places

    def set_epoch(self, epoch: int) -> None:
        """Take note of the epoch that Lightning starts."""
        if set_epoch := getattr(self.batches, "set_epoch", None):
            set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[_Task]:
        for number, positions in enumerate(self.batches):
            yield _Task(number % self.num_places, positions.numpy())


class DecodedBatches(DataLoader):
    """The decoder's batches, in the sampler's order.

    Their images are the caller's to keep, in page-locked memory where there is a CUDA device to copy them to.
    """

    def __init__(self, decoder: Decoder, batches: BatchSampler, batch_size: int, num_workers: int):
        """Share a decoder's work among processes; batch_size: of the largest batch. num_workers: at least 1."""
        num_places = num_workers * _AHEAD + 1  # those under way, and the one that is being taken
        self._shared = _Places(decoder, num_places, batch_size)
        self._pinned = torch.cuda.is_available()  # to ask takes longer than to take a small batch
        super().__init__(
            self._shared,
            batch_size=None,  # the sampler gives whole batches
            sampler=_Tasks(batches, num_places),
            num_workers=num_workers,
            prefetch_factor=_AHEAD,
            persistent_workers=True,
            collate_fn=_as_it_is,  # type: ignore[arg-type]
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for task in super().__iter__():
            images = self._shared.images(task)
            kept = torch.empty(images.shape, dtype=images.dtype, pin_memory=self._pinned)
            yield self._shared.decoder.batch(torch.from_numpy(task.positions), kept.copy_(images))


def _as_it_is(task: _Task) -> _Task:
    """Return a task as it is: DataLoader's own function would make tensors of the positions."""
    return task
