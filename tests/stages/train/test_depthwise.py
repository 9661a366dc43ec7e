"""Gradients of depthwise convolutions on a processor that computes in bfloat16."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from stages.train.depthwise import depthwise_gradients

CPU = torch.device("cpu")


def gradients(layer: nn.Module, images: torch.Tensor, precision: str | None) -> list[torch.Tensor]:
    """Those of images, weight and bias; precision: None has torch alone compute in float32."""
    images = images.clone().requires_grad_()
    layer.zero_grad()
    mode = depthwise_gradients(layer, precision, CPU) if precision else nullcontext()
    with mode, torch.autocast("cpu", torch.bfloat16, enabled=precision is not None):
        answer = layer(images)
    assert answer.dtype is (torch.bfloat16 if precision else torch.float32)
    answer.float().square().sum().backward()
    return [images.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.Conv2d(8, 16, 3, stride=2, padding=(1, 0), groups=8),
        nn.Conv2d(8, 8, 3, dilation=2, padding=2, padding_mode="reflect", groups=8),
        nn.Conv2d(8, 8, 3, padding="same", groups=8),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
    ],
    ids=str,
)
def test_they_are_those_of_float32_but_for_the_rounding_of_what_goes_in(layer):
    torch.manual_seed(0)
    images = torch.randn(4, 8, 12, 12).contiguous(memory_format=torch.channels_last)
    expected = gradients(layer, images, None)
    for one, other in zip(gradients(layer, images, "bf16-mixed"), expected, strict=True):
        assert one.dtype is torch.float32
        assert (one - other).abs().max() < 0.02 * other.abs().max()


def test_what_is_not_trained_has_none():
    network = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=8))
    network[0].requires_grad_(False)
    with depthwise_gradients(network, "bf16-mixed", CPU), torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(1, 8, 9, 9)).sum().backward()
    assert network[0].weight.grad is None
    assert network[1].weight.grad is not None


def test_elsewhere_nothing_is_changed():
    depthwise, dense = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3)
    others = [(depthwise, "32-true", CPU), (depthwise, "bf16-mixed", torch.device("cuda")), (dense, "bf16-mixed", CPU)]
    assert all(isinstance(depthwise_gradients(*other), nullcontext) for other in others)
    assert not isinstance(depthwise_gradients(depthwise, "bf16-mixed", CPU), nullcontext)
