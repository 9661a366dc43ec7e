"""What happens to pixels before the network sees them: one way for training, validation, test and the ONNX file.

A box of the image is resized with antialiasing, rounded to whole levels where it was enlarged, and normalised per
channel. For an answer the box is the largest centred square, times crop_pct; in training it may be any.

Resizing is two products with matrices of filter weights, as Pillow and torch (antialias=True) filter:

    scale = extent of the box / size, support = max(scale, 1), centre_i = start of the box + (i + 0.5) · scale
    W[i, j] = filter(|j + 0.5 - centre_i| / support), rows divided by their sums
    resized = W_y · image · W_xᵀ

Runtimes multiply matrices alike; their own Resize some compute without antialiasing: docs/model-file.md.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Interpolation = Literal["bilinear", "bicubic"]
_RADIUS = {"bilinear": 1, "bicubic": 2}  # of the filters, in pixels where nothing shrinks
# How fast rounding goes from one level to the next: at once, runtimes that differ in the last digit would differ by a
# level in the many pixels of enlarged images that lie halfway between two.
_STEEPNESS = 32
_BLOCK = 16  # rows that are computed from the part of the image that they depend on


@dataclass(frozen=True)
class Preprocessing:
    """The evaluation transform in numbers; mean and std of channels R, G, B in units of 0 to 1."""

    input_size: int
    crop_pct: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Take what `dataclasses.asdict` gave, after its way through JSON."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def resize(
    images: torch.Tensor, boxes: torch.Tensor, size: int, interpolation: Interpolation = "bilinear"
) -> torch.Tensor:
    """Resize a box of each image: [batch, height, width, 3], any dtype → float32 [batch, size, size, 3].

    boxes: float [batch, 4], or [1, 4] for all: top, left, height and width in pixels, inside the image. One of negative
    width goes from left to the left, and mirrors.
    """
    batch, height, width, channels = images.shape
    top, left, tall, wide = boxes.unbind(1)
    # Over rows first, of which each is all columns and channels; then over columns, each all channels and rows.
    lines = _filtered(images.reshape(batch, height, width * channels), top, tall, size, interpolation)
    turned = lines.view(batch, size, width, channels).permute(0, 2, 3, 1).reshape(batch, width, channels * size)
    return _filtered(turned, left, wide, size, interpolation).view(batch, size, channels, size).permute(0, 3, 1, 2)


def _filtered(
    lines: torch.Tensor, start: torch.Tensor, extent: torch.Tensor, size: int, interpolation: Interpolation
) -> torch.Tensor:
    """Multiply each image's lines [batch, n, m] by its matrix, [batch, size, n]; start, extent: [batch or 1].

    A row of the matrix is zero but for the pixels around its centre: a block of rows takes only those.
    """
    batch, n, m = lines.shape
    num_blocks = -(-size // _BLOCK)
    rows = torch.arange(num_blocks * _BLOCK, device=lines.device).clamp(max=size - 1)
    scale = (extent / size)[:, None]
    centres = (start[:, None] + (rows + 0.5) * scale).unflatten(1, (num_blocks, _BLOCK))
    support = torch.relu(scale - 1) + torch.relu(scale * -1 - 1) + 1
    # Without minimum, maximum and floor, which not every runtime has.
    radius = _RADIUS[interpolation]
    most = (_BLOCK - 1 + 2 * radius) * torch.sym_max(n, size) // size + 3
    num_taken = n - torch.sym_max(n - most, 0)
    lowest = centres[..., 0] - torch.relu(centres[..., 0] - centres[..., -1])
    lowest = torch.relu(lowest - radius * support)
    first = torch.relu(lowest * -1 + (n - num_taken)) * -1 + (n - num_taken)
    positions = first.long()[..., None] + torch.arange(num_taken, device=lines.device)
    weights = _weights(centres[..., None], support[..., None, None], positions[:, :, None], interpolation)
    index = positions + torch.arange(batch, device=lines.device)[:, None, None] * n
    taken = lines.reshape(batch * n, m).index_select(0, index.flatten()).view(batch, num_blocks, num_taken, m)
    return (weights @ taken.float()).view(batch, num_blocks * _BLOCK, m)[:, :size]


def _weights(
    centres: torch.Tensor, support: torch.Tensor, positions: torch.Tensor, interpolation: Interpolation
) -> torch.Tensor:
    """Weigh pixels by their distance from a centre; the last axis, over which the weights add up to one, is theirs."""
    offset = positions + 0.5 - centres
    distance = (torch.relu(offset) + torch.relu(offset * -1)) / support  # CoreML has no Abs, WebGPU no Max
    if interpolation == "bilinear":
        weights = torch.relu(1 - distance)
    else:  # R. Keys, "Cubic convolution interpolation" (1981), with a = -0.5, as Pillow and, antialiased, torch have it
        near = distance.clamp(0, 1)  # where one part ends, at 1, both are 0
        far = (distance - near).clamp(0, 1) + 1
        weights = (1.5 * near - 2.5) * near * near + 1 + (((2.5 - 0.5 * far) * far - 4) * far + 2)
    return weights / weights.sum(-1, keepdim=True)


class CropAndResize(nn.Module):
    """uint8 [batch, height, width, 3] → float32 [batch, input_size, input_size, 3], 0 to 255.

    Enlarged images are rounded to whole levels, as training keeps them: they are so smooth that their steps are what a
    network sees best (60 CIFAR images at 224 pixels: accuracy 0.68 rounded, 0.30 not).
    """

    def __init__(self, input_size: int, crop_pct: float, interpolation: Interpolation = "bilinear") -> None:
        super().__init__()
        self.input_size, self.crop_pct = input_size, crop_pct
        self.interpolation: Interpolation = interpolation

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[1], images.shape[2]
        side = height - torch.sym_max(height - width, 0)  # the smaller of both
        side = torch.sym_max(side * round(self.crop_pct * 1000) // 1000, 1)  # whole numbers: all round them alike
        top, left = (height - side) // 2, (width - side) // 2
        images = images.float() if torch.compiler.is_exporting() else images  # TensorRT takes uint8 no further
        square = images[:, top : top + side, left : left + side]
        box = torch.tensor([[0.0, 0.0, 1.0, 1.0]], device=images.device).mul(side)
        resized = resize(square, box, self.input_size, self.interpolation).clamp(0, 255)
        level = resized.int()
        rounded = level + ((resized - level - 0.5) * _STEEPNESS + 0.5).clamp(0, 1)
        return resized + (rounded - resized) * (self.input_size - box[:, 3:]).clamp(0, 1)


class Normalize(nn.Module):
    """0 to 255, [batch, size, size, 3] → float32 [batch, 3, size, size], channels_last: (x / 255 - mean) / std."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, values: Preprocessing):
        super().__init__()
        # Of whole rows of pixels, because three numbers a time are too few for vector instructions.
        for name, numbers in (("mean", values.mean), ("std", values.std)):
            self.register_buffer(name, torch.tensor(numbers).repeat(values.input_size) * 255, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = (images.float().flatten(2).contiguous() - self.mean).div_(self.std)
        return rows.view(images.shape).permute(0, 3, 1, 2)


def evaluation_transform(values: Preprocessing) -> nn.Sequential:
    """Make modules: uint8 RGB [batch, height, width, 3] → float32 [batch, 3, input_size, input_size], normalised."""
    return nn.Sequential(CropAndResize(values.input_size, values.crop_pct, values.interpolation), Normalize(values))
