"""What is measured of an image is what the words mean."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from stages.test.measures import measure
from tests.support.samples import random_pixels, save_dataset


@pytest.fixture
def measured(tmp_path: Path) -> dict[str, np.ndarray]:
    noise = random_pixels(60, 90, 3, seed=1)
    blurred = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3)))
    pictures = [noise, blurred, noise // 4, np.full((1, 1, 3), 200, np.uint8), np.zeros((500, 1000, 3), np.uint8)]
    return measure(save_dataset(tmp_path / "dataset", pictures), np.arange(5))


def test_a_blurred_image_is_less_sharp_and_a_dark_one_less_bright(measured):
    assert measured["sharpness"][1] < measured["sharpness"][0] / 10
    assert measured["brightness"][2] == pytest.approx(measured["brightness"][0] / 4, rel=0.05)
    assert measured["contrast"][2] == pytest.approx(measured["contrast"][0] / 4, rel=0.05)


def test_size_and_aspect_are_the_image_s_own(measured):
    assert measured["size"] == pytest.approx([5400**0.5, 5400**0.5, 5400**0.5, 1, 500_000**0.5])
    assert measured["aspect"] == pytest.approx([1.5, 1.5, 1.5, 1, 2])


def test_one_colour_has_neither_contrast_nor_sharpness(measured):
    assert measured["brightness"][3] == pytest.approx(200, abs=1)
    assert [measured[name][number] for name in ("contrast", "sharpness") for number in (3, 4)] == [0, 0, 0, 0]
