"""Gradients of depthwise convolutions in float32, where a processor computes the rest in bfloat16.

oneDNN, as torch 2.14 has it, computes them in bfloat16 up to six times slower than in float32: those of the images
where the stride is 2, those of the weights where there are few channels or filters of 5×5 and more. That is most of a
step of a MobileNet or an EfficientNet. No report of it is known upstream;
https://github.com/pytorch/pytorch/issues/183815 is one of grouped convolutions' forward passes.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def depthwise_gradients(network: nn.Module, precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Give what a training's forward pass is to be in; it does something only where something is to be gained.

    precision: Lightning's name.
    """
    if precision != "bf16-mixed" or device.type != "cpu":
        return nullcontext()
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    return _InFloat32() if any(_is_depthwise(layer.weight, layer.groups) for layer in convolutions) else nullcontext()


def _is_depthwise(weight: torch.Tensor, groups: int) -> bool:
    return groups > 1 and weight.shape[1] == 1


class _InFloat32(TorchFunctionMode):
    """Meanwhile, has depthwise convolutions followed by gradients of another precision, whoever calls them."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is functional.conv2d and not kwargs and len(args) == 7:  # as nn.Conv2d and timm call it
            _, weight, _, _, padding, _, groups = args
            if _is_depthwise(weight, groups) and not isinstance(padding, str):
                return _Depthwise.apply(*args)
        return function(*args, **(kwargs or {}))


class _Depthwise(torch.autograd.Function):
    """functional.conv2d, and its gradients in float32."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *how: Any) -> Any:
        ctx.save_for_backward(images, weight)
        ctx.bias, ctx.how = None if bias is None else list(bias.shape), how
        return functional.conv2d(images, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        images, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.how
        found = torch.ops.aten.convolution_backward(
            gradients[0].float(), images.float(), weight.float(), ctx.bias, _pair(stride), _pair(padding),
            _pair(dilation), False, [0, 0], groups, ctx.needs_input_grad[:3],
        )  # fmt: skip
        kinds = (images.dtype, weight.dtype, torch.float32)
        return (*(one if one is None else one.to(kind) for one, kind in zip(found, kinds, strict=True)), *[None] * 4)


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
