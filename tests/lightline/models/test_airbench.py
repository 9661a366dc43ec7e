"""The network of the airbench94 record."""

import pytest
import torch
from torch import nn

from lightline.models.airbench import Airbench

WIDTHS, DEPTHS = (8, 16, 12), (2, 2, 3)


@pytest.mark.parametrize("size", [16, 24, 32, 40])
def test_it_takes_images_of_several_sizes(size):
    assert Airbench(WIDTHS, DEPTHS, 7)(torch.randn(2, 3, size, size)).shape == (2, 7)


def test_the_first_layer_whitens_patches():
    """Without the correction for small eigenvalues, the first twelve channels would be uncorrelated with variance 1."""
    torch.manual_seed(0)
    images = torch.randn(200, 3, 16, 16).cumsum(2).cumsum(3)  # neighbours are alike, as in photos
    network = Airbench(WIDTHS, DEPTHS, 3)
    network.prepare(images)
    answers = network.stem(images).detach().permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(answers[:12], -answers[12:])
    moment = answers[:12].double() @ answers[:12].double().T / answers.shape[1]
    torch.testing.assert_close(moment, torch.eye(12, dtype=torch.float64), atol=0.01, rtol=0)
    strengths = network.stem.weight[:12].flatten(1).norm(dim=1)
    assert (strengths.diff() >= 0).all()  # of the largest eigenvalue first
    assert not network.stem.weight.requires_grad


def test_the_same_images_prepare_the_same_layer():
    images = torch.randn(50, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    first, second = Airbench(WIDTHS, DEPTHS, 3), Airbench(WIDTHS, DEPTHS, 3)
    first.prepare(images)
    second.prepare(images)
    assert torch.equal(first.stem.weight, second.stem.weight)


def test_convolutions_begin_by_handing_their_input_on():
    network = Airbench((24, 30, 20), DEPTHS, 3)
    for layer in (module for module in network.blocks.modules() if isinstance(module, nn.Conv2d)):
        features = torch.randn(1, layer.in_channels, 5, 5)
        kept = min(layer.in_channels, layer.out_channels)
        torch.testing.assert_close(layer(features)[:, :kept], features[:, :kept])


def test_a_third_convolution_has_the_blocks_pooled_features_added():
    block = Airbench(WIDTHS, DEPTHS, 3).blocks[2].eval()
    features = torch.randn(2, 16, 8, 8)
    nn.init.zeros_(block.conv3.weight)
    pooled = nn.functional.gelu(block.norm1(block.pool(block.conv1(features))))
    torch.testing.assert_close(block(features), nn.functional.gelu(pooled))


def test_what_learns_and_what_does_not():
    network = Airbench(WIDTHS, DEPTHS, 3)
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {"stem.bias", "head.weight", "blocks.0.norm1.bias", "blocks.2.conv3.weight"} <= learning
    assert not any("norm" in name and name.endswith("weight") for name in learning)
    assert network.head.weight.std().item() == pytest.approx(1)
