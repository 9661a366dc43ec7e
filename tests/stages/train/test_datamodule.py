"""What the loaders give to training: order, shares, sizes, statistics."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from lightline.data.dataset import Dataset
from lightline.models.transforms import Normalize
from stages.train.datamodule import EpochBatches, ImageDataModule
from stages.train.image_sets import Batch
from stages.train.module import Classifier
from tests.support.samples import random_pixels, save_dataset
from tests.support.small_data import PHOTO, make_data, make_splits
from tests.support.tiny import tiny_params


def positions(batches: EpochBatches) -> list[int]:
    return torch.cat(list(batches)).tolist()


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_shares_of_the_processes_part_the_permutation(world_size):
    samplers = [EpochBatches(20, 4, 5, rank, world_size, drop_last=False) for rank in range(world_size)]
    orders = []
    for epoch in range(3):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        shares = [positions(sampler) for sampler in samplers]
        assert {len(share) for share in shares} == {20 // world_size}
        assert all(len(sampler) == len(list(sampler)) for sampler in samplers)
        together = [row for share in shares for row in share]
        assert len(set(together)) == len(together)
        assert set(together) <= set(range(20))
        orders.append(together)
    assert orders[0] != orders[1] != orders[2]


def test_the_order_depends_on_seed_and_epoch_alone():
    first, again, other = (positions(EpochBatches(30, 8, seed, 0, 1, drop_last=False)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("num_rows", "sizes"), [(24, [8, 8, 8]), (23, [8, 8]), (17, [8, 8]), (7, [7])])
def test_a_last_batch_that_is_not_full_is_left_out_on_request(num_rows, sizes):
    batches = EpochBatches(num_rows, 8, 5, 0, 1, drop_last=True)
    assert [len(batch) for batch in batches] == sizes
    assert len(batches) == len(sizes)


def test_a_training_epoch_has_every_train_row_once(tmp_path):
    data = make_data(tmp_path, 20, trainer__batch_size=8)
    batches = list(data.train_dataloader())
    assert [len(batch.rows) for batch in batches] == [8, 8, 4]
    rows = torch.cat([batch.rows for batch in batches])
    assert sorted(rows.tolist()) == list(range(20))
    assert rows.tolist() != list(range(20))
    dataset = Dataset(tmp_path / "dataset")
    for batch in batches:
        assert batch.images.dtype == torch.uint8
        assert batch.targets.dtype == torch.int64
        for image, target, row in zip(*batch, strict=True):
            assert np.array_equal(image.numpy(), dataset.pixels(int(row)))
            assert target == dataset.labels[row]


@pytest.mark.parametrize(
    ("num_train", "batch_size", "sizes"),
    [(17, 8, [8, 8]), (18, 8, [8, 8, 2]), (16, 8, [8, 8]), (1, 8, [1]), (3, 1, [1, 1, 1]), (9, 8, [8])],
)
def test_a_last_batch_of_one_image_is_dropped(tmp_path, num_train, batch_size, sizes):
    data = make_data(tmp_path, num_train, trainer__batch_size=batch_size)
    loader = data.train_dataloader()
    assert [len(batch.rows) for batch in loader] == sizes
    assert len(loader) == len(sizes)


def test_validation_has_every_val_row_in_order(tmp_path):
    data = make_data(tmp_path, 4, 9, trainer__batch_size=4)
    batches = list(data.val_dataloader())
    assert [len(batch.rows) for batch in batches] == [4, 4, 1]  # nothing is dropped
    assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(4, 13))


def test_batches_reach_the_network_normalised_and_channels_last(tmp_path):
    data = make_data(tmp_path, 10, trainer__batch_size=10, augment__random_crop_padding=0)
    batch = next(iter(data.val_dataloader()))
    images = data.on_after_batch_transfer(batch, 0).images
    assert images.shape == (5, 3, 16, 16)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    mean, std = np.array(data.preprocessing.mean), np.array(data.preprocessing.std)
    expected = (batch.images.numpy() / 255 - mean) / std
    assert np.allclose(images.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


def test_of_photos_more_is_kept_than_the_network_sees(tmp_path):
    pixels = list(random_pixels(4, 60, 90, 3))
    dataset = save_dataset(tmp_path / "dataset", pixels)
    for changes, stored in (({}, 18), ({"augment__store_size": 64}, 64), ({"augment__store_size": 500}, 90)):
        data = ImageDataModule(tiny_params(**PHOTO, **changes), dataset, make_splits(dataset, 3))
        assert data.train.images_at(torch.arange(2)).shape == (2, stored, stored, 3)
        assert data.val.images_at(torch.arange(1)).shape == (1, 16, 16, 3)
        assert data.sample(3).shape == (3, 3, 16, 16)
    whole = np.asarray(Image.fromarray(pixels[0]).resize((90, 90), Image.Resampling.BILINEAR))
    assert np.abs(data.train.images_at(torch.arange(1))[0].numpy().astype(int) - whole).max() <= 1


@pytest.mark.parametrize("changes", [{}, {"augment__mixup_alpha": 0.2}, {"augment__cutmix_alpha": 1.0}, "photo"])
def test_training_batches_are_augmented_and_channels_last(tmp_path, changes):
    class Training:
        """As much of Lightning's Trainer as the hook reads."""

        training, current_epoch, global_rank, world_size = True, 0, 0, 1

    if changes == "photo":
        changes = PHOTO | {"augment__store_size": 12}
    else:
        changes |= {"augment__rand_augment__num_ops": 1, "augment__random_erasing": 0.5}
        changes |= {"augment__random_crop_padding": 2}
    data = make_data(tmp_path, 12, trainer__batch_size=12, **changes)
    data.trainer = Training()  # type: ignore[assignment]
    batch = next(iter(data.train_dataloader()))
    first, second = (data.on_after_batch_transfer(batch, 0) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert first.images.is_contiguous(memory_format=torch.channels_last)
    assert first.images.shape == (12, 3, 16, 16)
    if batch.images.shape[1] == 16:
        plain = data.normalize(batch.images)
        assert (first.images != plain).flatten(1).any(1).float().mean() > 0.5
    Training.current_epoch = 1
    assert not torch.equal(data.on_after_batch_transfer(batch, 0).images, first.images)


@pytest.mark.parametrize("photo", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_batches_are_made_on_the_accelerator(tmp_path, photo, training):
    """On one that torch only imagines, which refuses what mixes devices as a real one does."""
    changes = {"augment__random_erasing": 0.5, "augment__random_crop_padding": 2}
    if photo:
        changes = PHOTO | {"augment__color_jitter__contrast": 0.4, "augment__random_rotation": 10.0}
    data = make_data(tmp_path, 12, trainer__batch_size=12, **changes)
    batch = next(iter(data.train_dataloader() if training else data.val_dataloader()))
    with FakeTensorMode(shape_env=ShapeEnv()) as imagined:
        accelerator = torch.device("cuda", 0)
        data.trainer = SimpleNamespace(  # type: ignore[assignment] - as much of Lightning's as the hooks read
            training=training, current_epoch=0, strategy=SimpleNamespace(root_device=accelerator)
        )
        for pictures in (data.train, data.val):
            pictures.move_to = lambda *_: None  # type: ignore[method-assign] - there is no memory to ask for
        data.augmentation._aspects = imagined.from_tensor(data.augmentation._aspects)
        data.normalize = Normalize(data.preprocessing)
        data.setup("fit")
        moved = Batch(*(imagined.from_tensor(part).to(accelerator) for part in batch))
        made = data.on_after_batch_transfer(moved, 0)
    assert made.images.device == made.targets.device == accelerator
    assert made.images.shape == (len(batch.rows), 3, 16, 16)


def test_a_process_without_val_images_adds_none_to_the_sums(tmp_path):
    data = make_data(tmp_path, 20)
    module = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 3)), data.params)
    empty = data.val[torch.arange(0)]
    module.validation_step(data.on_after_batch_transfer(empty, 0), 0)
    assert not module.sums["val"].totals().isnan().any()
