"""Batch normalisation over all processes: what torch computes of a whole batch, and the own layers after that."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn

from lightline.errors import ParameterError
from stages.train.sync_batchnorm import BatchNormSync


@pytest.fixture
def group(free_port: int) -> Iterator[None]:
    """A group of this process alone."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{free_port}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def _network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4, momentum=None))
    return nn.Sequential(layers, nn.Flatten(), nn.Linear(4 * 36, 2), nn.BatchNorm1d(2, affine=False))


@pytest.mark.usefixtures("group")
def test_it_computes_what_torch_does_and_gives_the_layers_back():
    own, other = _network(), _network()
    sync = BatchNormSync(on_cpu=True)
    sync.apply(other)
    names = [name for name, _ in other.named_parameters()]
    for seed in range(3):
        images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        for network in (own, other):
            network.zero_grad()
            network(images).square().sum().backward()
        for mine, theirs in zip(own.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(theirs.grad, mine.grad, rtol=1e-4, atol=1e-5)
    sync.revert(other)
    assert [name for name, _ in other.named_parameters()] == names
    assert [type(module) for module in other.modules()] == [type(module) for module in own.modules()]
    for name, value in own.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)
    own.eval(), other.eval()
    torch.testing.assert_close(other(images), own(images))


def test_a_layer_that_does_more_than_torchs_is_refused_on_the_cpu():
    class WithActivation(nn.BatchNorm2d):
        pass

    with pytest.raises(ParameterError, match="WithActivation, which model has, can be synchronised on GPUs alone"):
        BatchNormSync(on_cpu=True).apply(nn.Sequential(WithActivation(3)))


def test_on_a_gpu_timms_layers_keep_their_activation():
    timm = pytest.importorskip("timm.layers.norm_act")
    network = nn.Sequential(timm.BatchNormAct2d(3, act_layer=nn.SiLU), nn.BatchNorm2d(3))
    sync = BatchNormSync(on_cpu=False)
    own = [*network]
    sync.apply(network)
    assert [type(layer) for layer in network] == [timm.SyncBatchNormAct, nn.SyncBatchNorm]
    assert isinstance(network[0].act, nn.SiLU)
    sync.revert(network)
    assert [*network] == own
