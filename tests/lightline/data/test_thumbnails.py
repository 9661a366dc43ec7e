"""Thumbnails: averages of areas, the same for a picture alone and among others."""

import numpy as np
import pytest

from lightline.data.thumbnails import HEIGHT, SIZE, WIDTH, thumbnails
from tests.support.samples import random_pixels


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    (found,) = thumbnails([pixels])
    assert found is not None
    return np.frombuffer(found, np.uint8).reshape(HEIGHT, WIDTH).astype(int)


def averages(pixels: np.ndarray) -> np.ndarray:
    """The grey of each of 8×9 equal areas, pixels on a border shared out exactly."""
    height, width, _ = pixels.shape
    grey = pixels @ np.array([0.3008, 0.5859, 0.1133])
    fine = grey.repeat(HEIGHT, axis=0).repeat(WIDTH, axis=1)
    return fine.reshape(HEIGHT, height, WIDTH, width).mean(axis=(1, 3))


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (17, 63), (64, 20)])
def test_it_is_the_average_of_each_area_in_grey(size):
    pixels = random_pixels(*size, 3)
    assert np.abs(thumbnail(pixels) - averages(pixels)).max() <= 2


@pytest.mark.parametrize("size", [(65, 65), (300, 200), (16, 2000)])
def test_a_large_picture_has_the_thumbnail_of_its_areas_too(size):
    rows, columns = np.mgrid[: size[0], : size[1]]
    shades = (rows * 120 / size[0] + columns * 130 / size[1]).astype(np.uint8)
    pixels = np.stack([shades, shades // 2, 255 - shades], axis=2)
    assert np.abs(thumbnail(pixels) - averages(pixels)).max() <= 3


def test_pictures_of_many_sizes_keep_their_order():
    pictures = [random_pixels(20 + number % 3, 30, 3, seed=number) for number in range(7)]
    pictures += [random_pixels(100, 80, 3), random_pixels(8, 8, 3)]
    assert thumbnails(pictures) == [thumbnails([pixels])[0] for pixels in pictures]


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (15, 400), (20_000, 1)])
def test_tiny_pictures_have_none(size):
    assert thumbnails([np.zeros((*size, 3), np.uint8)]) == [None]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_one_colour_stays_that_colour(value):
    assert set(np.unique(thumbnail(np.full((32, 40, 3), value, np.uint8)))) == {value}
    assert len(thumbnails([np.zeros((32, 32, 3), np.uint8)])[0] or b"") == SIZE
