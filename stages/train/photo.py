"""What training sees of photos: a part of each, resized, turned, in other light; each has its own random numbers."""

import math

import torch
from torch import nn
from torch.nn import functional

from lightline.config.training import ColorJitter, RandomResizedCrop
from lightline.models.transforms import Interpolation, resize

_GREY = (0.299, 0.587, 0.114)  # what R, G and B add to it, as Pillow has it


class WholeImage(nn.Module):
    """uint8 [batch, height, width, 3] → uint8 [batch, size, size, 3]: all of it, whatever its proportions."""

    crop_pct = 1.0

    def __init__(self, input_size: int, interpolation: Interpolation = "bilinear"):
        super().__init__()
        self.input_size = input_size
        self.interpolation: Interpolation = interpolation

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=images.device).expand(len(images), 4)
        return resized_parts(images, whole, self.input_size, self.interpolation)


def resized_parts(
    images: torch.Tensor, boxes: torch.Tensor, size: int, interpolation: Interpolation = "bilinear"
) -> torch.Tensor:
    """Resize a part of each image, to whole levels: uint8 [batch, height, width, 3] → uint8 [batch, size, size, 3].

    boxes: [batch, 4], as `crop_boxes` gives them; they are rounded to whole pixels.

    On a processor by torch's own resize of bytes, which takes a quarter of the time of the products of matrices and is
    within a level of them (bicubic cuts off what is beyond black and white between its two passes, as Pillow does); on
    an accelerator by the products, which see a pixel or two beyond the part. What answers, and what the best epoch is
    chosen by, is resized by the products alone, wherever it is.
    """
    pixels = whole_pixels(boxes, images.shape[1], images.shape[2])
    if images.device.type != "cpu":
        return resize(images, pixels.float(), size, interpolation).round_().clamp_(0, 255).byte()
    resized = torch.empty((len(images), size, size, 3), dtype=torch.uint8)
    for image, box, place in zip(images.split(1), pixels.tolist(), resized.split(1), strict=True):
        place.copy_(_resized_bytes(image, box, size, interpolation))
    return resized


def _resized_bytes(image: torch.Tensor, box: list[int], size: int, interpolation: Interpolation) -> torch.Tensor:
    top, left, tall, wide = box
    columns = slice(left, left + wide) if wide > 0 else slice(left + wide, left)
    part = image[:, top : top + tall, columns].permute(0, 3, 1, 2)
    # Pixel by pixel, as what comes after it wants them, and as it is quicker in itself.
    part = part.contiguous(memory_format=torch.channels_last)
    resized = functional.interpolate(part, (size, size), mode=interpolation, antialias=True)
    return (resized.flip(3) if wide < 0 else resized).permute(0, 2, 3, 1)


def whole_pixels(boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Make boxes of an image's parts, float [batch, 4], boxes of its pixels, int64: at least one, none outside."""
    most = torch.tensor([height, width], device=boxes.device)
    ends = torch.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    start = (ends.amin(0) * most).round().minimum(most - 1)
    extent = ((ends.amax(0) * most).round().minimum(most) - start).clamp(min=1)
    (top, left), (tall, wide), mirrored = start.unbind(1), extent.unbind(1), boxes[:, 3] < 0
    return torch.stack([top, left + wide * mirrored, tall, torch.where(mirrored, -wide, wide)], 1).long()


def crop_boxes(
    settings: RandomResizedCrop, draws: torch.Tensor, mirrored: torch.Tensor, aspects: torch.Tensor
) -> torch.Tensor:
    """Choose a box in each image as torchvision's RandomResizedCrop does.

    Returns [batch, 4] as `resize` takes them, but for being parts of the image's sides.

    draws: uniform, [batch, 4]; mirrored: bool [batch]; aspects: the images' width by their height, [batch].
    """
    area, ratio, top, left = draws.unbind(1)
    smallest, largest = settings.scale
    area = smallest + area * (largest - smallest)
    flattest, tallest = (math.log(bound) for bound in settings.ratio)
    ratio = torch.exp(flattest + ratio * (tallest - flattest)) / aspects
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()])
    # Where an image is too narrow for a box of that area, the largest one of that ratio.
    height, width = sides / sides.amax(0).clamp(min=1)
    left = left * (1 - width) + torch.where(mirrored, width, 0.0)
    return torch.stack([top * (1 - height), left, height, torch.where(mirrored, -width, width)], 1)


def color_jitter(settings: ColorJitter, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Change brightness, contrast and saturation as torchvision's ColorJitter does, in this order.

    images: float [batch, height, width, 3], 0 to 255; draws: uniform, [batch, 3].
    """
    strengths = torch.tensor([settings.brightness, settings.contrast, settings.saturation], device=draws.device)
    lowest = (1 - strengths).clamp(min=0)
    factors = lowest + draws * (1 + strengths - lowest)
    brightness, contrast, saturation = factors[:, :, None, None].unbind(1)
    # All three are one matrix and one number for each image: a pass over the pixels instead of eight.
    planes = images.permute(0, 3, 1, 2).flatten(2)
    grey = torch.tensor(_GREY, device=images.device)
    towards_grey = saturation * torch.eye(3, device=images.device) + (1 - saturation) * grey
    mean = (planes.mean(2) * grey).sum(1)[:, None, None]
    changed = (brightness * contrast * towards_grey) @ planes
    changed = changed.add_(mean * (brightness * (1 - contrast))).clamp_(0, 255)
    return changed.view(len(images), 3, *images.shape[1:3]).permute(0, 2, 3, 1)


def rotated(images: torch.Tensor, degrees: float, draws: torch.Tensor) -> torch.Tensor:
    """Turn each image by up to so many degrees either way; what comes in from outside is its mirror image.

    images: float [batch, size, size, 3]; draws: uniform, [batch].
    """
    angles = (draws * 2 - 1) * math.radians(degrees)
    zero = torch.zeros_like(angles)
    rows = torch.stack([angles.cos(), -angles.sin(), zero, angles.sin(), angles.cos(), zero], 1)
    planes = images.permute(0, 3, 1, 2)
    grid = functional.affine_grid(rows.view(-1, 2, 3), list(planes.shape), align_corners=False)
    turned = functional.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
    return turned.permute(0, 2, 3, 1)
