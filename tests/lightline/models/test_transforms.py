"""The evaluation transform, held to Pillow and to arithmetic."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from lightline.models.transforms import CropAndResize, Normalize, Preprocessing, evaluation_transform, resize
from tests.support.samples import random_pixels


def resized(pixels: np.ndarray, input_size: int, crop_pct: float = 1.0) -> torch.Tensor:
    return CropAndResize(input_size, crop_pct)(torch.from_numpy(pixels[None]))[0]


def as_pillow(pixels: np.ndarray, input_size: int, box: tuple[int, int, int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).crop(box).resize((input_size, input_size), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("height", "width", "crop_pct", "box"),  # left, top, right, bottom
    [
        (64, 64, 1.0, (0, 0, 64, 64)),
        (8, 8, 1.0, (0, 0, 8, 8)),
        (40, 61, 1.0, (10, 0, 50, 40)),
        (61, 40, 1.0, (0, 10, 40, 50)),
        (100, 100, 0.875, (6, 6, 93, 93)),  # 87.5 pixels become 87
        (100, 120, 0.5, (35, 25, 85, 75)),
        (37, 23, 0.9, (1, 8, 21, 28)),
    ],
)
def test_it_crops_and_resizes_as_pillow_does(height, width, crop_pct, box):
    pixels = random_pixels(height, width, 3)
    difference = resized(pixels, 32, crop_pct).numpy() - as_pillow(pixels, 32, box)
    assert np.abs(difference).max() <= 1  # Pillow rounds to whole levels, after each direction


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [8, 33, 224])
@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (33, 33), (31, 17), (223, 225), (480, 640), (1500, 2000)])
def test_it_resizes_as_torch_does(shape, size, interpolation):
    pixels = torch.from_numpy(random_pixels(2, *shape, 3))
    expected = functional.interpolate(
        pixels.permute(0, 3, 1, 2).float(), (size, size), mode=interpolation, antialias=True
    ).permute(0, 2, 3, 1)
    height, width = shape
    whole, mirrored = torch.tensor([[0.0, 0, height, width]]), torch.tensor([[0.0, width, height, -width]])
    assert (resize(pixels, whole, size, interpolation) - expected).abs().max() < 5e-4
    # Counted from the right, centres are rounded as numbers as large as the width.
    assert (resize(pixels, mirrored, size, interpolation).flip(2) - expected).abs().max() < 0.01


def test_each_image_has_its_own_box():
    pixels = torch.from_numpy(random_pixels(3, 60, 60, 3))
    boxes = torch.tensor([[0.0, 0, 60, 60], [10, 5, 16, 48], [40, 60, 20, -60]])
    together = resize(pixels, boxes, 24)
    alone = [resize(pixels[[number]], boxes[[number]], 24) for number in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-3)
    # Inside, where the filter does not reach beyond the box, as if it had been cut out.
    cut = resize(pixels[1:2, 10:26, 5:53], torch.tensor([[0.0, 0, 16, 48]]), 24)
    assert torch.allclose(together[1, 2:-2, 2:-2], cut[0, 2:-2, 2:-2], atol=1e-3)


def test_the_size_of_the_network_changes_nothing():
    pixels = random_pixels(32, 32, 3)
    assert np.array_equal(resized(pixels, 32).numpy(), pixels.astype(np.float32))


def test_an_image_of_one_pixel_fills_the_input():
    pixels = np.array([[[10, 20, 250]]], np.uint8)
    for crop_pct in (1.0, 0.5, 0.001):
        assert resized(pixels, 16, crop_pct).unique(dim=0).tolist() == [[[10, 20, 250]] * 16]


def test_a_strip_of_one_pixel_keeps_its_middle():
    pixels = np.arange(0, 250, 10, dtype=np.uint8).reshape(1, 25, 1).repeat(3, 2)
    assert resized(pixels, 8).unique().tolist() == [120]


def test_shrinking_is_antialiased():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[::2] = 200  # picking rows would give 0 or 200
    assert torch.allclose(resized(pixels, 8)[1:-1], torch.tensor(100.0), atol=1)


def test_a_batch_is_transformed_as_its_images_are():
    pixels = torch.from_numpy(random_pixels(5, 30, 41, 3))
    transform = evaluation_transform(Preprocessing(16, 0.9, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)))
    batch = transform(pixels)
    assert batch.shape == (5, 3, 16, 16)
    assert batch.dtype == torch.float32
    assert torch.allclose(batch, torch.cat([transform(image[None]) for image in pixels]), atol=1e-5)


def test_normalisation_is_per_channel_in_units_of_0_to_1():
    preprocessing = Preprocessing(1, 1.0, (0.5, 0.2, 0.0), (0.25, 0.5, 1.0))
    levels = torch.tensor([255.0, 51.0, 102.0]).view(1, 1, 1, 3)
    assert Normalize(preprocessing)(levels).flatten().tolist() == pytest.approx([2.0, 0.0, 0.4])
    assert Normalize(preprocessing)(levels.byte()).flatten().tolist() == pytest.approx([2.0, 0.0, 0.4])


def test_normalisation_leaves_no_trace_in_a_state_dict():
    # The numbers stand in the checkpoint once, under `preprocessing`.
    assert evaluation_transform(Preprocessing(16, 1.0, (0.5,) * 3, (0.5,) * 3)).state_dict() == {}


def test_the_settings_pass_through_json_unchanged():
    preprocessing = Preprocessing(16, 0.875, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    values = json.loads(json.dumps(asdict(preprocessing)))
    assert values == {
        "input_size": 16,
        "crop_pct": 0.875,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "interpolation": "bilinear",
    }
    assert Preprocessing.from_dict(values) == preprocessing
