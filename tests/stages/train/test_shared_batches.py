"""Batches that worker processes write into shared memory: each whole, in order, and the caller's to keep."""

import itertools
import os
import resource

import lightning
import lightning.fabric.utilities.data
import pytest
import torch

from lightline.errors import LightlineError
from stages.train.datamodule import EpochBatches
from stages.train.shared_batches import DecodedBatches

NUM_IMAGES, BATCH, WORKERS = 45, 4, 2  # more batches than places in the shared memory


class Numbers:
    """Decodes image n as pixels of value n, but for image `damaged`."""

    input_size = 3

    def __init__(self, damaged: int = -1):
        self.damaged = damaged

    def decode(self, positions: torch.Tensor, images: torch.Tensor) -> None:
        if self.damaged in positions.tolist():
            raise ValueError(f"image {self.damaged} is damaged")
        images[:] = positions.to(torch.uint8)[:, None, None, None]

    def batch(self, positions: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
        return positions, images, os.getpid()


def sampler() -> EpochBatches:
    return EpochBatches(NUM_IMAGES, BATCH, 7, 0, 1, drop_last=True)


def check(loader: DecodedBatches, expected: EpochBatches) -> None:
    batches = list(loader)  # all are kept while later ones come
    assert torch.cat([positions for positions, _, _ in batches]).tolist() == torch.cat(list(expected)).tolist()
    for positions, images, process in batches:
        assert images.shape == (len(positions), 3, 3, 3)
        assert torch.equal(images, positions.to(torch.uint8)[:, None, None, None].expand_as(images))
        assert process == os.getpid()


def test_batches():
    loader = DecodedBatches(Numbers(), sampler(), BATCH, WORKERS)
    assert len(loader) == len(sampler()) == 11
    check(loader, sampler())


def test_the_next_epoch_has_its_own_order():
    batches, expected = sampler(), sampler()
    loader = DecodedBatches(Numbers(), batches, BATCH, WORKERS)
    check(loader, expected)
    lightning.fabric.utilities.data._set_sampler_epoch(loader, 1)  # as Lightning does it
    expected.set_epoch(1)
    check(loader, expected)


def test_an_epoch_after_one_that_was_left_in_the_middle():
    loader = DecodedBatches(Numbers(), sampler(), BATCH, WORKERS)
    assert len(list(itertools.islice(loader, 2))) == 2
    check(loader, sampler())


def test_a_last_batch_that_is_smaller():
    positions = torch.arange(10).split(BATCH)
    assert [len(images) for _, images, _ in DecodedBatches(Numbers(), positions, BATCH, 1)] == [4, 4, 2]


def test_what_a_worker_stumbles_over_is_raised_here():
    with pytest.raises(ValueError, match="image 3 is damaged"):
        list(DecodedBatches(Numbers(damaged=3), sampler(), BATCH, WORKERS))


def test_too_little_shared_memory_is_said_with_what_to_do():
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    batch = 2**20  # × 27 bytes × places
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limit[1]))  # which counts for files in /dev/shm too
    try:
        with pytest.raises(LightlineError, match=r"need 141557760 bytes of shared memory.*num_workers"):
            DecodedBatches(Numbers(), sampler(), batch, WORKERS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
