"""What happens to pixels before the network sees them: one way for training, validation, test and the ONNX file.

Every image, for whatever purpose: the largest centred square, times crop_pct, is resized to input_size with
antialiasing, rounded to whole levels where it was enlarged, then normalised per channel. Training images, which are
kept in memory as whole levels, are shifted, mirrored, erased and mixed in between.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

# How fast rounding goes from one level to the next. In enlarged images many pixels lie halfway between two; if rounding
# jumped there, each runtime would round them by its last digit.
_STEEPNESS = 32
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """The evaluation transform in numbers; mean and std of channels R, G, B in units of 0 to 1."""

    input_size: int
    crop_pct: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Take what `dataclasses.asdict` gave, after its way through JSON."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**plain)


class CropAndResize(nn.Module):
    """uint8 [batch, height, width, 3] → float32 [batch, 3, input_size, input_size], 0 to 255.

    Enlarged images are rounded to whole levels, as training keeps them: they are so smooth that their steps are what a
    network sees best (60 CIFAR images at 224 pixels: accuracy 0.68 rounded, 0.30 not). A value within 1/64 of halfway
    lies between the two levels, so that runtimes that differ in the last digit differ by little.
    """

    def __init__(self, input_size: int, crop_pct: float) -> None:
        super().__init__()
        self.input_size = input_size
        self.crop_pct = crop_pct

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[1], images.shape[2]
        side = torch.sym_min(height, width)
        if self.crop_pct < 1:
            # In whole numbers, which torch and onnxruntime round alike.
            side = torch.sym_max(side * round(self.crop_pct * 1000) // 1000, 1)
        top, left = (height - side) // 2, (width - side) // 2
        square = images[:, top : top + side, left : left + side].permute(0, 3, 1, 2).float()
        if torch.compiler.is_exporting():
            torch._check(square.shape[2] > 0)  # which the exporter cannot see from the slices
            torch._check(square.shape[3] > 0)
        size = (self.input_size, self.input_size)
        resized = functional.interpolate(square, size, mode="bilinear", align_corners=False, antialias=True)
        level = resized.floor()
        rounded = level + ((resized - level - 0.5) * _STEEPNESS + 0.5).clamp(0, 1)
        is_enlarged = torch.sym_max(torch.sym_min(self.input_size - side, 1), 0)  # 1 or 0
        return resized + (rounded - resized) * is_enlarged


class Normalize(nn.Module):
    """0 to 255, [batch, 3, …] → per channel (x / 255 - mean) / std."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, preprocessing: Preprocessing):
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(3, 1, 1) * 255, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.float() - self.mean) / self.std


class PixelNormalizer:
    """`Normalize` for the training loop: the same numbers in a tenth of the time, from images as they lie in memory."""

    def __init__(self, preprocessing: Preprocessing):
        self._preprocessing = preprocessing
        self._rows: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise: uint8 [batch, height, size, 3] → float32 [batch, 3, height, size], channels_last."""
        batch, height, width, channels = images.shape
        mean, std = self._row(width, images.device)
        # Whole rows of pixels, because three numbers a time are too few for vector instructions.
        inputs = images.reshape(batch, height, width * channels).float().sub_(mean).div_(std)
        # The permuted view of images in height-width-channel order is what torch calls channels_last.
        return inputs.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def _row(self, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the mean and standard deviation of each number in a row of pixels."""
        if device not in self._rows or len(self._rows[device][0]) != 3 * width:
            mean, std = (torch.tensor(value) * 255 for value in (self._preprocessing.mean, self._preprocessing.std))
            self._rows[device] = (mean.repeat(width).to(device), std.repeat(width).to(device))
        return self._rows[device]


def evaluation_transform(preprocessing: Preprocessing) -> nn.Sequential:
    """Make modules: uint8 RGB [batch, height, width, 3] → float32 [batch, 3, input_size, input_size], normalised."""
    return nn.Sequential(CropAndResize(preprocessing.input_size, preprocessing.crop_pct), Normalize(preprocessing))
