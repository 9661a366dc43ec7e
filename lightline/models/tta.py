"""Test-time augmentation: a network's answer to an image as a mean over several views of it."""

import torch
from torch import nn
from torch.nn import functional

from lightline.config.model import Model


def with_tta(network: nn.Module, settings: Model) -> nn.Module:
    """Have a network answer as the settings say, by itself or from several views, in evaluation mode."""
    if settings.test_time_augmentation == "none":
        return network.eval()
    return TTANetwork(network, shift=settings.test_time_augmentation == "mirror_and_shift").eval()


def without_tta(network: nn.Module) -> nn.Module:
    """Take the network that answers to one view."""
    return network.network if isinstance(network, TTANetwork) else network


class TTANetwork(nn.Module):
    """Normalised float [batch, 3, size, size] → logits [batch, classes]: means over views, each as large as the image.

    The image and its mirror image; with shift, they count half, and half the same of the image shifted by one pixel
    to the upper left and to the lower right (K. Jordan, airbench94, 2024).
    """

    def __init__(self, network: nn.Module, shift: bool):
        super().__init__()
        self.network = network
        self.shift = shift

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.shift:
            return self._mirrored(images)
        size = images.shape[-1]
        padded = functional.pad(images, (1, 1, 1, 1), mode="reflect")
        shifted = self._mirrored(padded[..., :size, :size]) + self._mirrored(padded[..., 2:, 2:])
        return 0.5 * self._mirrored(images) + 0.25 * shifted

    def _mirrored(self, images: torch.Tensor) -> torch.Tensor:
        return (self.network(images) + self.network(images.flip(-1))) / 2
