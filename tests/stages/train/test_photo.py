"""What training sees of photos, held to torchvision and to arithmetic."""

import math

import pytest
import torch
from torchvision import transforms
from torchvision.transforms.v2 import functional

from lightline.config.training import ColorJitter, RandomResizedCrop
from lightline.models.transforms import resize
from stages.train.photo import color_jitter, crop_boxes, resized_parts, rotated, whole_pixels
from tests.support.samples import random_pixels

NUM = 4000


def boxes_of(aspect: float, scale: tuple[float, float], ratio: tuple[float, float], *, mirrored: bool = False):
    """Height and width of random boxes as parts of the image, their top, and their left edge as one looks at it."""
    settings = RandomResizedCrop(scale=list(scale), ratio=list(ratio))
    draws = torch.rand(NUM, 4, generator=torch.Generator().manual_seed(1))
    boxes = crop_boxes(settings, draws, torch.full((NUM,), mirrored), torch.full((NUM,), aspect))
    top, left, height, width = boxes.unbind(1)
    assert bool((width < 0).all()) == mirrored
    return height, width.abs(), top, torch.minimum(left, left + width)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("aspect", [0.4, 1.0, 500 / 375])
def test_boxes_lie_inside_and_have_the_area_and_proportions_asked_for(aspect, mirrored):
    height, width, top, left = boxes_of(aspect, (0.1, 0.3), (0.75, 4 / 3), mirrored=mirrored)
    for start, extent in ((top, height), (left, width)):
        assert start.min() >= 0
        assert (start + extent).max() <= 1 + 1e-6
        assert (start + extent).max() > 0.99
        assert start.min() < 0.01
    assert (height * width).min() >= 0.1 - 1e-6
    assert (height * width).max() <= 0.3 + 1e-6
    ratio = width * aspect / height
    assert 0.75 - 1e-4 <= ratio.min() < 0.76
    assert 1.31 < ratio.max() <= 4 / 3 + 1e-4
    assert abs(ratio.log().mean()) < 0.02  # as often wide as tall


def test_of_a_narrow_image_the_largest_box_of_that_ratio_is_taken():
    height, width, _, _ = boxes_of(4.0, (1.0, 1.0), (0.75, 4 / 3))
    assert torch.allclose(height, torch.ones(NUM))
    ratio = width * 4 / height
    assert ratio.min() >= 0.75 - 1e-4
    assert ratio.max() <= 4 / 3 + 1e-4


def test_boxes_are_those_of_torchvision_s_distribution():
    torch.manual_seed(0)
    image, scale, ratio = torch.empty(3, 375, 500), (0.35, 1.0), (0.75, 4 / 3)
    drawn = [list(transforms.RandomResizedCrop.get_params(image, list(scale), list(ratio))) for _ in range(500)]
    theirs = torch.tensor(drawn)
    height, width, _, _ = boxes_of(500 / 375, scale, ratio)
    areas = theirs[:, 2] * theirs[:, 3] / (375 * 500)
    assert abs(areas.mean() - (height * width).mean()) < 0.05
    assert abs((theirs[:, 3] / theirs[:, 2]).log().mean() - (width * 500 / (height * 375)).log().mean()) < 0.05


def test_a_box_of_a_stored_image_is_that_of_the_image_itself():
    """A photo kept as a square, its proportions in the box: the crop shows what a crop of the photo shows."""
    ramp = torch.linspace(0, 255, 400)[None, None, :, None].expand(1, 300, 400, 3)
    stored = resize(ramp, torch.tensor([[0.0, 0, 300, 400]]), 150)
    settings = RandomResizedCrop(scale=[0.2, 0.2], ratio=[1.0, 1.0])
    (box,) = crop_boxes(settings, torch.full((1, 4), 0.5), torch.tensor([False]), torch.tensor([400 / 300]))
    side = math.sqrt(0.2 * 300 * 400)
    assert torch.allclose(box[2:] * torch.tensor([300, 400]), torch.tensor([side, side]), atol=1e-2)
    expected = resize(ramp, (box * torch.tensor([300, 400, 300, 400]))[None], 64)
    assert (resize(stored, box[None] * 150, 64) - expected).abs().max() < 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(48, 48), (37, 90), (300, 400), (1, 5)])
def test_bytes_are_resized_as_the_products_of_matrices_resize_them(height, width, interpolation):
    # Bicubic goes beyond black and white between its two passes, which bytes cut off: of these it never does.
    images = torch.from_numpy(random_pixels(40, height, width, 3)) // 4 + 96
    settings, generator = RandomResizedCrop(scale=[0.08, 1.0], ratio=[0.75, 4 / 3]), torch.Generator().manual_seed(3)
    draws, mirrored = torch.rand(40, 4, generator=generator), torch.arange(40) % 2 == 0
    boxes = crop_boxes(settings, draws, mirrored, torch.full((40,), width / height))
    found = resized_parts(images, boxes, 32, interpolation)
    assert found.dtype == torch.uint8
    for image, (top, left, tall, wide), result in zip(images, whole_pixels(boxes, height, width), found, strict=True):
        part = image[top : top + tall, min(left, left + wide) : max(left, left + wide)]
        box = torch.tensor([[0, wide.clamp(max=0).abs(), tall, wide]]).float()
        expected = resize(part[None], box, 32, interpolation).round().clamp(0, 255)[0]
        assert (result - expected).abs().max() <= 1


def test_boxes_in_pixels_stay_inside_and_never_empty():
    boxes = torch.tensor(
        [[0.0, 0.0, 1.0, 1.0], [0.999, 0.999, 1e-4, 1e-4], [0.2, 0.7, 0.5, -0.5], [0.5, 1.0, 0.5, -1.0]]
    )
    pixels = [[0, 0, 10, 20], [9, 19, 1, 1], [2, 14, 5, -10], [5, 20, 5, -20]]
    assert whole_pixels(boxes, 10, 20).tolist() == pixels


@pytest.mark.parametrize("strengths", [(0.4, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, 0.0, 0.4), (0.2, 0.2, 0.2)])
def test_colours_change_as_torchvision_s_do(strengths):
    images = torch.from_numpy(random_pixels(6, 20, 30, 3)).float() * 0.4 + 50  # nothing to be cut off at 0 or 255
    draws = torch.rand(6, 3, generator=torch.Generator().manual_seed(2))
    settings = ColorJitter(**dict(zip(("brightness", "contrast", "saturation"), strengths, strict=True)))
    changed = color_jitter(settings, images, draws)
    for image, result, draw in zip(images, changed, draws, strict=True):
        brightness, contrast, saturation = (
            1 - strength + 2 * strength * value for strength, value in zip(strengths, draw.tolist(), strict=True)
        )
        planes = image.permute(2, 0, 1) / 255
        planes = functional.adjust_brightness(planes, brightness)
        planes = functional.adjust_contrast(planes, contrast)
        planes = functional.adjust_saturation(planes, saturation)
        # torchvision's grey is of 0.2989, 0.587 and 0.114, which add up to a little less than one.
        assert (planes.permute(1, 2, 0) * 255 - result).abs().max() < 0.05


def test_levels_stay_between_black_and_white():
    images = torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 4, 4, 3)
    changed = color_jitter(ColorJitter(brightness=0.9, contrast=2.0, saturation=2.0), images, torch.ones(2, 3))
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_rotation_is_by_each_image_s_own_angle_about_the_centre():
    images = torch.from_numpy(random_pixels(2, 32, 32, 3)).float()
    turned = rotated(images, 90.0, torch.tensor([0.5, 1.0]))
    assert torch.allclose(turned[0], images[0], atol=1e-2)
    quarter = [images[1].rot90(times, (0, 1)) for times in (1, -1)]
    assert any(torch.allclose(turned[1], each, atol=1e-2) for each in quarter)
