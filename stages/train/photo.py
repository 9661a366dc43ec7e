"""What training sees of photos: a part of each, resized, turned, in other light; each has its own random numbers."""

import math

import torch
from torch import nn
from torch.nn import functional

from lightline.config.training import ColorJitter, RandomResizedCrop
from lightline.models.transforms import Interpolation, resize

_GREY = (0.299, 0.587, 0.114)  # what R, G and B add to it, as Pillow has it


class WholeImage(nn.Module):
    """uint8 [batch, height, width, 3] → float32 [batch, size, size, 3]: all of it, whatever its proportions."""

    crop_pct = 1.0

    def __init__(self, input_size: int, interpolation: Interpolation = "bilinear"):
        super().__init__()
        self.input_size = input_size
        self.interpolation: Interpolation = interpolation

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        whole = torch.tensor([[0.0, 0.0, *images.shape[1:3]]], device=images.device)
        return resize(images, whole, self.input_size, self.interpolation)


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
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    red, green, blue = images.split(1, 3)
    grey = _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue
    mean = grey.mean((1, 2, 3), keepdim=True)
    changed = torch.lerp(grey, images, saturation).mul_(brightness * contrast)
    return changed.add_(mean * (brightness * (1 - contrast))).clamp_(0, 255)


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
