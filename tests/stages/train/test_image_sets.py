"""Where decoded images are kept, and that they are the same everywhere."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightline.errors import LightlineError
from lightline.models.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CropAndResize,
    Normalize,
    Preprocessing,
    evaluation_transform,
)
from stages.train import datamodule, image_sets
from stages.train.image_sets import InMemoryImageDataset
from tests.support.samples import random_pixels, save_dataset
from tests.support.small_data import PHOTO, make_data


def test_images_of_mixed_sizes_are_decoded_to_one_size_in_order(tmp_path):
    sizes = [(16, 16), (32, 32), (32, 32), (20, 33), (16, 16), (1, 1), (40, 16)]
    pictures = [random_pixels(*size, 3, seed=number) for number, size in enumerate(sizes)]
    rows = np.arange(7)[::-1].copy()
    pictures_in_memory = InMemoryImageDataset(save_dataset(tmp_path, pictures), rows, CropAndResize(16, 1.0))
    assert pictures_in_memory.images.shape == (7, 16, 16, 3)
    for pixels, image in zip(pictures[::-1], pictures_in_memory.images.numpy(), strict=True):
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        square = Image.fromarray(pixels[top : top + side, left : left + side])
        expected = np.asarray(square.resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(image - expected).max() <= 1
    assert pictures_in_memory.labels.tolist() == [0, 2, 1, 0, 2, 1, 0]


@pytest.mark.parametrize(("side", "crop_pct"), [(1, 1.0), (5, 1.0), (8, 0.875), (15, 1.0), (17, 0.9)])
def test_training_and_the_file_see_the_same_numbers_of_enlarged_images(tmp_path, side, crop_pct):
    dataset = save_dataset(tmp_path / "dataset", list(random_pixels(4, side, side, 3)))
    settings = Preprocessing(16, crop_pct, IMAGENET_MEAN, IMAGENET_STD)
    rows = np.arange(4)
    kept = InMemoryImageDataset(dataset, rows, CropAndResize(16, crop_pct))
    pixels = torch.from_numpy(np.stack([dataset.pixels(row) for row in rows]))
    seen = evaluation_transform(settings)(pixels)
    difference = ((Normalize(settings)(kept.images) - seen) * torch.tensor(IMAGENET_STD).view(3, 1, 1) * 255).abs()
    # Halfway between two levels, where training takes one of them, the file takes what lies between.
    assert difference.max() <= 0.51
    assert (difference < 1e-3).float().mean() > 0.9


def test_a_crop_is_taken_of_images_that_have_the_network_s_size_too(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[4:12, 4:12] = 200
    pictures = InMemoryImageDataset(save_dataset(tmp_path, [pixels]), np.array([0]), CropAndResize(16, 0.5))
    assert pictures.images.min() == 200


@pytest.mark.parametrize("augment", [{}, PHOTO])
@pytest.mark.parametrize("disk_fraction", [0.0, 0.5])
def test_images_that_do_not_fit_come_from_workers_or_a_file_and_are_the_same(
    tmp_path, augment, disk_fraction, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    inside = make_data(tmp_path, 20, trainer__batch_size=8, **augment)
    hardware = {"hardware__memory_fraction": 0.0, "hardware__disk_fraction": disk_fraction, "hardware__num_workers": 2}
    outside = make_data(tmp_path, 20, trainer__batch_size=8, **hardware, **augment)
    assert isinstance(inside.train, InMemoryImageDataset)
    assert isinstance(outside.train, InMemoryImageDataset) == (disk_fraction > 0)
    maps = Path("/proc/self/maps").read_text() if Path("/proc/self/maps").exists() else None
    assert maps is None or (f"{tmp_path}/.lightline/" in maps) == (disk_fraction > 0)
    assert not Path(".lightline").exists() or not list(Path(".lightline").iterdir())  # the file has no name
    assert outside.preprocessing == inside.preprocessing
    for ours, theirs in zip(outside.train_dataloader(), inside.train_dataloader(), strict=True):
        assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


def test_train_and_val_together_take_no_more_than_may_be_taken(tmp_path, monkeypatch):
    one = 16 * 16 * 3  # bytes of an image
    for room, expected in ((25 * one, True), (25 * one - 1, False)):
        monkeypatch.setattr(datamodule, "free_memory", lambda room=room: room)
        hardware = {"hardware__memory_fraction": 1.0, "hardware__disk_fraction": 0.0}
        data = make_data(tmp_path / str(room), 20, **hardware)  # and 5 for val
        assert isinstance(data.train, InMemoryImageDataset)
        assert isinstance(data.val, InMemoryImageDataset) == expected


def test_too_little_shared_memory_leaves_decoding_to_one_process(tmp_path, monkeypatch, capsys):
    def refuse(*arguments: object) -> None:
        raise LightlineError("The batches need 9 bytes of shared memory.")

    monkeypatch.setattr(image_sets, "DecodedBatches", refuse)
    monkeypatch.setattr(image_sets, "_WORTH_WORKERS", 1)
    data = make_data(tmp_path, 20, hardware__num_workers=2)
    assert len(data.train[torch.arange(20)].images) == 20
    assert "decoded in one process. The batches need 9 bytes" in capsys.readouterr().out


def test_a_dataset_is_sent_to_a_worker_without_its_contents(tmp_path):
    dataset = save_dataset(tmp_path, list(random_pixels(50, 32, 32, 3)))
    dataset.pixels(0)
    content = pickle.dumps(dataset)
    assert len(content) < 1000
    assert (pickle.loads(content).pixels(3) == dataset.pixels(3)).all()
