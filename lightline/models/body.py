"""What goes into a network's last layer: its embedding of an image."""

from typing import Any

import torch
from torch import nn

from lightline.models.build import head_names
from lightline.models.tta import without_tta


class Body(nn.Module):
    """Normalised images, float [batch, 3, size, size] → the network's logits [batch, classes], and what its last layer
    takes for them: float32 [batch, features], the mean over positions where that is a map, over views where several
    are answered from. One without a last layer of its own, a Linear or a convolution, has no features.

    has_head: whether there is such a layer.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        inner = without_tta(network)
        names = head_names(inner)
        self.has_head = bool(names)
        self.head: nn.Module = inner.get_submodule(names[0]) if names else nn.Identity()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, seen = self.run(images)
        views = [taken.float() if taken.ndim == 2 else taken.float().flatten(2).mean(2) for taken, _ in seen]
        if not views:
            return logits, logits.new_zeros(len(logits), 0)
        return logits, torch.stack(views).mean(0) if len(views) > 1 else views[0]

    def run(self, images: torch.Tensor) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
        """Give the logits, and what the last layer took and gave, as often as it was asked."""
        seen: list[Any] = []
        hook = self.head.register_forward_hook(lambda _, taken, given: seen.append((taken[0], given)))
        try:
            # As it is, not as it may have been compiled, where hooks would not be called.
            return self.network.forward(images), seen
        finally:
            hook.remove()
