"""The record's optimizer, held to the record's own steps written out."""

import torch
from torch import nn

from stages.train.muon import orthogonalize
from stages.train.muon_sgd import MuonSGD


def layers() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((6, 4, 3, 3), (5, 6), (6,))]


def gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return [torch.randn(*parameter.shape, generator=generator) for parameter in layers()]


def test_steps_are_the_record_s():
    filters, head, bias = layers()
    muon = {"params": [filters], "orthogonal": True, "lr": 0.24, "momentum": 0.6, "ns_steps": 3}
    sgd = {"orthogonal": False, "momentum": 0.85}
    optimizer = MuonSGD(
        [muon, {"params": [head], "lr": 0.67, "weight_decay": 0.006, **sgd}, {"params": [bias], "lr": 0.053, **sgd}],
        torch.bfloat16,
    )
    expected, *others = layers()
    torch_s = torch.optim.SGD(
        [{"params": [others[0]], "lr": 0.67, "weight_decay": 0.006}, {"params": [others[1]], "lr": 0.053}],
        momentum=0.85, nesterov=True,
    )  # fmt: skip
    buffer = torch.zeros_like(expected)
    for step in range(4):
        for parameters in ((filters, head, bias), (expected, *others)):
            for parameter, gradient in zip(parameters, gradients(step), strict=True):
                parameter.grad = gradient
        optimizer.step()
        torch_s.step()
        with torch.no_grad():
            buffer = 0.6 * buffer + gradients(step)[0]
            update = orthogonalize((gradients(step)[0] + 0.6 * buffer).reshape(6, -1), 3, torch.bfloat16).view(
                expected.shape
            )
            expected *= 6**0.5 / expected.norm()
            expected -= 0.24 * update
        torch.testing.assert_close(filters, expected)
        torch.testing.assert_close([head, bias], others)


def test_what_has_no_gradient_stays():
    filters = layers()[0]
    before = filters.detach().clone()
    group = {"params": [filters], "orthogonal": True, "lr": 1.0, "momentum": 0.6, "ns_steps": 3}
    MuonSGD([group], torch.bfloat16).step()
    assert torch.equal(filters, before)


def test_a_group_whose_schedule_has_ended_is_frozen():
    filters, head, _ = layers()
    sgd = {"orthogonal": False, "momentum": 0.85}
    optimizer = MuonSGD([{"params": [filters], "lr": 1.0, **sgd}, {"params": [head], "lr": 0.0, **sgd}], torch.float32)
    before = head.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        (filters.sum() + head.sum()).backward()
        optimizer.step()
    assert torch.equal(head, before)
    assert head.grad is None
    assert not head.requires_grad
    assert filters.requires_grad
