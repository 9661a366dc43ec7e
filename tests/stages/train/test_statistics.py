"""Mean and deviation of the training images."""

from pathlib import Path

import numpy as np
import pytest

from lightline.models.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CropAndResize,
)
from stages.train.datamodule import ImageDataModule
from stages.train.image_sets import ImageDataset, InMemoryImageDataset, channel_statistics
from tests.support.samples import random_pixels, save_dataset
from tests.support.small_data import make_data, make_splits
from tests.support.tiny import tiny_params


def whole(
    folder: Path, pixels: list[np.ndarray], kind: type[ImageDataset] = InMemoryImageDataset, size: int = 16
) -> ImageDataset:
    return kind(save_dataset(folder, pixels), np.arange(len(pixels)), CropAndResize(size, 1.0))


@pytest.mark.parametrize("kind", [ImageDataset, InMemoryImageDataset])
def test_statistics_are_numpy_s(tmp_path, kind):
    images = random_pixels(7, 16, 16, 3)
    images[..., 1] //= 3
    mean, std = channel_statistics(whole(tmp_path, list(images), kind))
    assert mean == pytest.approx((images / 255).mean((0, 1, 2)), rel=1e-12)
    assert std == pytest.approx((images / 255).std((0, 1, 2)), rel=1e-9)


@pytest.mark.parametrize("level", range(0, 256, 15))
def test_a_channel_of_one_value_is_divided_by_one(tmp_path, level):
    mean, std = channel_statistics(whole(tmp_path, [np.full((16, 16, 3), level, np.uint8)] * 3))
    assert mean == pytest.approx((level / 255,) * 3)
    assert std == (1.0, 1.0, 1.0)


def test_statistics_come_from_the_train_rows_alone(tmp_path):
    pictures = [np.full((16, 16, 3), 51, np.uint8), np.full((16, 16, 3), 102, np.uint8), *random_pixels(4, 16, 16, 3)]
    dataset = save_dataset(tmp_path, pictures)
    data = ImageDataModule(tiny_params(), dataset, make_splits(dataset, 2))
    assert data.preprocessing.mean == pytest.approx((0.3,) * 3)
    assert data.preprocessing.std == pytest.approx((0.1,) * 3)


def test_imagenet_s_statistics_on_request(tmp_path):
    preprocessing = make_data(tmp_path, 4, model__normalize="imagenet", model__crop_pct=0.9).preprocessing
    assert (preprocessing.mean, preprocessing.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert (preprocessing.input_size, preprocessing.crop_pct) == (16, 0.9)
