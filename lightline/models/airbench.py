"""The network of the airbench94 record, which learns CIFAR-10 in seconds.

K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (2024), in the version with Muon.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

_STEM_CHANNELS, _PATCH = 24, 2
_EPSILON = 5e-4  # added to the eigenvalues, of which the smallest are noise
_LOGIT_SCALE = 1 / 256


class Airbench(nn.Module):
    """Normalised float [batch, 3, size, size] → logits [batch, classes]; size: 16 pixels and more.

    A first layer that whitens patches of 2×2 pixels, three blocks of two or three convolutions, a linear head.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int], num_classes: int):
        """Build three blocks; widths, depths: their channels and convolutions: 2, or 3 as in the airbench96 record."""
        super().__init__()
        self.stem = nn.Conv2d(3, _STEM_CHANNELS, _PATCH)
        self.stem.weight.requires_grad_(False)
        channels = pairwise([_STEM_CHANNELS, *widths])
        self.blocks = nn.Sequential(*(_Block(*pair, depth) for pair, depth in zip(channels, depths, strict=True)))
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        with torch.no_grad():
            self.stem.bias.zero_()  # type: ignore[union-attr]
            self.head.weight /= self.head.weight.std()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # The bias apart: with frozen weights, oneDNN takes a tenth of a training step for its gradient.
        patches = nn.functional.conv2d(images, self.stem.weight)
        bias = self.stem.bias.to(patches.dtype)[:, None, None]  # type: ignore[union-attr]
        features = self.blocks(nn.functional.gelu(patches + bias))
        return self.head(features.amax((2, 3))) * _LOGIT_SCALE

    @torch.no_grad()
    def prepare(self, images: torch.Tensor) -> None:
        """Fit the first layer to normalised training images, float [n, 3, size, size].

        Its filters are the eigenvectors of the patches' uncentred second moment, each divided by the root of its
        eigenvalue, and their negatives, so that a layer that rectifies loses nothing.
        """
        patches = images.unfold(2, _PATCH, 1).unfold(3, _PATCH, 1).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
        # Double precision, and signs fixed: the same filters whatever the number of threads.
        patches = patches.double()
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        largest = vectors.abs().argmax(0, keepdim=True)
        vectors = vectors * vectors.gather(0, largest).sign()
        filters = (vectors / (values + _EPSILON).sqrt()).T.flip(0).view(-1, 3, _PATCH, _PATCH)
        self.stem.weight.copy_(torch.cat([filters, -filters]))


class _Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, depth: int):
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = _normalization(out_channels)
        self.conv2 = _convolution(out_channels, out_channels)
        self.norm2 = _normalization(out_channels)
        self.conv3 = _convolution(out_channels, out_channels) if depth > 2 else None
        self.norm3 = _normalization(out_channels) if depth > 2 else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.gelu(self.norm1(self.pool(self.conv1(features))))
        features = nn.functional.gelu(self.norm2(self.conv2(pooled)))
        if self.conv3 is None or self.norm3 is None:
            return features
        return nn.functional.gelu(self.norm3(self.conv3(features)) + pooled)


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    layer = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    # The first filters hand their channel on, as far as there are channels.
    nn.init.dirac_(layer.weight.data[:in_channels])
    return layer


def _normalization(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    layer.weight.requires_grad_(False)
    return layer
