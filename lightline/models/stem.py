"""The first layers of a library's network, fitted to images of a few dozen pixels."""

from collections.abc import Mapping

import torch
from torch import nn

_SMALL_IMAGES = 64  # pixels up to which stem: auto means small


def fit_stem(network: nn.Module, choice: str, input_size: int) -> None:
    """Fit to images of a few dozen pixels: no stride in the first convolution, 3×3 at most, and no first max-pooling.

    As in K. He et al., "Deep residual learning" (2016), section 4.2. Networks that cut the image into patches stay as
    they are.
    """
    if choice == "standard" or (choice == "auto" and input_size > _SMALL_IMAGES):
        return
    convolutions = ((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    name, first = next(convolutions)
    if first.stride in (first.kernel_size, (1, 1)) or type(first) is not nn.Conv2d:
        return
    stem = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=first.bias is not None)
    if first.kernel_size == (3, 3):
        stem.load_state_dict(first.state_dict())
    network.set_submodule(name, stem)
    # The pooling of a stem stands in the network itself or in its `features`, never deeper.
    pools = (name for name, module in network.named_modules() if isinstance(module, nn.MaxPool2d))
    pool = next((name for name in pools if name.count(".") <= 1), None)
    if pool is not None:
        network.set_submodule(pool, nn.Identity())


def are_of_a_small_stem(weights: Mapping[str, torch.Tensor], network: nn.Module) -> bool:
    """Tell whether they are of a network that `fit_stem` has changed, as those of our own checkpoints may be."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            return weights.get(f"{name}.weight", module.weight).shape != module.weight.shape
    return False
