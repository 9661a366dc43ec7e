"""A network's first loss is that of guessing: its new head says next to nothing, whatever the library that built it."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lightline.models.build import build_network, head_names
from tests.support.families import FAMILIES
from tests.support.samples import model_settings

_CLASSES, _IMAGES = 7, 8
_OF_TIMM = (
    "tf_efficientnet_lite0 mobilenetv3_small_050 test_efficientnet test_convnext test_resnet test_vit test_nfnet "
    "test_byobnet levit_128s deit_tiny_distilled_patch16_224"
).split()
NETWORKS = {
    **{name: 32 for name in FAMILIES if not name.startswith("timm/")},
    **{f"timm/{name}": 160 if name.startswith("test_") else 224 for name in _OF_TIMM},
    "maxvit_t": 224,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_loss_is_the_logarithm_of_the_classes(name):
    size = NETWORKS[name]
    torch.manual_seed(1)
    network = build_network(model_settings(name, input_size=size), _CLASSES)
    labels = torch.arange(_IMAGES) % _CLASSES
    with torch.no_grad():
        logits = network(torch.randn(_IMAGES, 3, size, size))
    logits = logits[0] if isinstance(logits, tuple) else logits  # distilled networks give two, while they train
    assert cross_entropy(logits, labels).item() == pytest.approx(math.log(_CLASSES), rel=0.02)


@pytest.mark.parametrize("name", ["squeezenet1_1", "timm/test_efficientnet", "cnn"])
def test_a_small_head_learns(name):
    torch.manual_seed(1)
    network = build_network(model_settings(name, input_size=64), 2)
    (head,) = (network.get_submodule(name) for name in head_names(network))
    cross_entropy(network(torch.randn(4, 3, 64, 64)), torch.tensor([0, 1, 0, 1])).backward()
    assert isinstance(head.weight, nn.Parameter)
    assert head.weight.grad is not None
    assert (head.weight.grad.flatten(1).abs().sum(1) > 0).all()


def test_both_heads_of_a_distilled_network_are_heads():
    assert head_names(build_network(model_settings("timm/levit_128s", input_size=224), 3)) == [
        "head.linear",
        "head_dist.linear",
    ]
