"""Where the network looked: Grad-CAM (R. Selvaraju et al., 2017) at the last map before its last layer."""

from typing import Any

import numpy as np
import torch
from torch import nn

from lightline.data.dataset import Dataset
from lightline.models.checkpoint import Checkpoint
from lightline.models.transforms import evaluation_transform
from lightline.models.tta import without_tta

_BATCH = 16
_MOST = 28  # cells a side


def heat_maps(checkpoint: Checkpoint, dataset: Dataset, rows: np.ndarray) -> list[np.ndarray] | None:
    """Make a map for each image, uint8 [height, width], of what spoke for the class that the network answered.

    They lie over what the network saw of the image, the middle square. None: the network has no such map, as those of
    attention have none.
    """
    network = without_tta(checkpoint.network())
    transform = evaluation_transform(checkpoint.preprocessing)
    with torch.inference_mode():
        inputs = [transform(torch.tensor(dataset.pixels(int(row)))[None]) for row in rows]
    layer = _last_map(network, torch.zeros_like(inputs[0])) if inputs else None
    if layer is None:
        return None
    batches = (torch.cat(inputs[start : start + _BATCH]) for start in range(0, len(inputs), _BATCH))
    return [one for batch in batches for one in _grad_cam(network, layer, batch)]


def _last_map(network: nn.Module, image: torch.Tensor) -> nn.Module | None:
    """Find the layer that makes the last map of several places; None where there is none, or attention follows."""
    found: list[nn.Module | None] = [None]

    def look(module: nn.Module, _: Any, given: Any) -> None:
        if "attention" in type(module).__name__.lower() and not _is_map(given):
            found[0] = None
        elif not list(module.children()) and _is_map(given):
            found[0] = module

    hooks = [module.register_forward_hook(look) for module in network.modules()]
    try:
        with torch.no_grad():
            network.forward(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0]


def _is_map(given: Any) -> bool:
    return isinstance(given, torch.Tensor) and given.ndim == 4 and _places(given) is not None


def _places(given: torch.Tensor) -> tuple[int, int] | None:
    """Find the axes of height and width: the two that are equal, and more than one."""
    _, first, second, third = given.shape
    if second == third and second > 1:
        return 2, 3
    return (1, 2) if first == second and second > 1 else None


def _grad_cam(network: nn.Module, layer: nn.Module, inputs: torch.Tensor) -> list[np.ndarray]:
    seen: list[torch.Tensor] = []

    def hold(_: nn.Module, __: Any, given: torch.Tensor) -> torch.Tensor:
        seen.append(given.detach().requires_grad_())
        return seen[-1].clone()  # which what follows may change in place

    hook = layer.register_forward_hook(hold)
    try:
        logits = network.forward(inputs.clone())
    finally:
        hook.remove()
    activation = seen[-1]
    (slope,) = torch.autograd.grad(logits.amax(1).sum(), activation)
    places = _places(activation)
    assert places is not None
    channels = 1 if places == (2, 3) else 3
    heat = (slope.mean(places, keepdim=True) * activation).sum(channels).relu().detach()
    if heat.shape[-1] > _MOST:
        heat = nn.functional.adaptive_avg_pool2d(heat, _MOST)
    heat = heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12)
    return list((heat * 255).round().byte().numpy())
