"""Muon, held to torch's own where torch has one."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from stages.train.muon import Muon, orthogonalize

BF16, FP32 = torch.bfloat16, torch.float32
MUON = {"rule": "muon", "lr": 0.05, "momentum": 0.9, "nesterov": True, "ns_steps": 5, "weight_decay": 0.1}
ADAMW = {"rule": "adamw", "lr": 0.01, "weight_decay": 0.1}


def muon(parameters: list[nn.Parameter], others: Sequence[nn.Parameter] = (), **changes: Any) -> Muon:
    return Muon([{"params": parameters, **MUON, **changes}, {"params": list(others), **ADAMW}], BF16)


def gradients(*shape: int, num: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator) for _ in range(num)]


def stepped(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, grads: list[torch.Tensor]) -> torch.Tensor:
    for grad in grads:
        parameter.grad = grad.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("dtype", [BF16, FP32])
@pytest.mark.parametrize("shape", [(24, 24), (16, 60), (60, 16), (1, 30), (200, 10)])
def test_orthogonalized_matrices_have_singular_values_near_one(shape, dtype):
    matrix = gradients(*shape, num=1)[0]
    values = torch.linalg.svdvals(orthogonalize(matrix, 5, dtype))
    # The iteration's coefficients trade accuracy for speed: 0.7 to 1.2 is what they are made for.
    assert values.max() < 1.3
    assert values.median() > 0.6
    # The length does not matter.
    torch.testing.assert_close(orthogonalize(matrix, 5, dtype), orthogonalize(matrix * 64, 5, dtype))


def test_orthogonalizing_in_bfloat16_differs_by_its_rounding_alone():
    matrix = gradients(16, 60, num=1)[0]
    coarse, fine = (orthogonalize(matrix, 3, dtype) for dtype in (BF16, FP32))
    assert 0 < (coarse - fine).norm() < 0.02 * fine.norm()


def test_orthogonalizing_keeps_the_singular_vectors():
    matrix = gradients(20, 40, num=1)[0]
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    projected = left.T @ orthogonalize(matrix, 5, BF16) @ right.T
    assert (projected - projected.diag().diag()).abs().max() < 0.1
    assert projected.diag().min() > 0


def test_a_zero_matrix_stays_zero():
    assert torch.equal(orthogonalize(torch.zeros(4, 8), 5, BF16), torch.zeros(4, 8))


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(16, 48), (48, 16)])
def test_matrices_are_updated_as_by_torch_s_muon(shape, nesterov):
    start, grads = gradients(*shape, num=1)[0], gradients(*shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    updated = stepped(muon([ours], nesterov=nesterov), ours, grads)
    reference = torch.optim.Muon(
        [theirs], lr=0.05, momentum=0.9, nesterov=nesterov, ns_steps=5, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    expected = stepped(reference, theirs, grads)
    # bfloat16 has 8 bits, and the two round at different places.
    assert (updated - expected).norm() < 0.02 * (expected - start).norm()


def test_vectors_are_updated_as_by_torch_s_adamw():
    start, grads = gradients(30, num=1)[0], gradients(30)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    updated = stepped(muon([], [ours]), ours, grads)
    expected = stepped(torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1), theirs, grads)
    assert torch.allclose(updated, expected, atol=1e-6)


def test_filters_are_updated_as_the_matrices_they_are():
    start, grads = gradients(8, 4, 3, 3, num=1)[0], gradients(8, 4, 3, 3)
    filters, matrix = nn.Parameter(start.clone()), nn.Parameter(start.reshape(8, 36).clone())
    updated = stepped(muon([filters]), filters, grads)
    expected = stepped(muon([matrix]), matrix, [grad.reshape(8, 36) for grad in grads])
    assert torch.equal(updated.reshape(8, 36), expected)


def test_filters_in_channels_last_order_are_updated_alike():
    start, grads = gradients(8, 4, 3, 3, num=1)[0], gradients(8, 4, 3, 3)
    plain = nn.Parameter(start.clone())
    last = nn.Parameter(start.clone(memory_format=torch.channels_last))
    expected = stepped(muon([plain]), plain, grads)
    updated = stepped(muon([last]), last, grads)
    assert torch.allclose(updated, expected, atol=1e-6)


def test_a_saved_optimizer_goes_on_as_if_it_had_not_stopped():
    matrix, vector, grads, bias_grads = gradients(8, 12, num=1)[0], torch.zeros(8), gradients(8, 12), gradients(8)

    def run(optimizer, parameters, start, end):
        for first, second in zip(grads[start:end], bias_grads[start:end], strict=True):
            parameters[0].grad, parameters[1].grad = first.clone(), second.clone()
            optimizer.step()

    def fresh(values):
        parameters = [nn.Parameter(value.detach().clone()) for value in values]
        return muon(parameters[:1], parameters[1:]), parameters

    optimizer, whole = fresh([matrix, vector])
    run(optimizer, whole, 0, 4)
    optimizer, half = fresh([matrix, vector])
    run(optimizer, half, 0, 2)
    resumed, rest = fresh(half)
    resumed.load_state_dict(optimizer.state_dict())
    run(resumed, rest, 2, 4)
    assert all(torch.equal(first, second) for first, second in zip(whole, rest, strict=True))


def test_parameters_without_gradients_stay():
    parameter = nn.Parameter(torch.ones(3, 3))
    muon([parameter]).step()
    assert torch.equal(parameter.detach(), torch.ones(3, 3))


def layers() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((6, 4, 3, 3), (5, 6), (6,))]


def record_gradients(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return [torch.randn(*parameter.shape, generator=generator) for parameter in layers()]


def test_with_sgd_steps_are_those_of_the_airbench_record():
    filters, head, bias = layers()
    muon = {"params": [filters], "rule": "muon", "normalize": True, "lr": 0.24, "momentum": 0.6, "ns_steps": 3}
    sgd = {"rule": "sgd", "momentum": 0.85}
    optimizer = Muon(
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
            for parameter, gradient in zip(parameters, record_gradients(step), strict=True):
                parameter.grad = gradient
        optimizer.step()
        torch_s.step()
        with torch.no_grad():
            buffer = 0.6 * buffer + record_gradients(step)[0]
            update = orthogonalize((record_gradients(step)[0] + 0.6 * buffer).reshape(6, -1), 3, torch.bfloat16).view(
                expected.shape
            )
            expected *= 6**0.5 / expected.norm()
            expected -= 0.24 * update
        torch.testing.assert_close(filters, expected)
        torch.testing.assert_close([head, bias], others)


def test_filters_without_gradients_stay():
    filters = layers()[0]
    before = filters.detach().clone()
    group = {"params": [filters], "rule": "muon", "normalize": True, "lr": 1.0, "momentum": 0.6, "ns_steps": 3}
    Muon([group], torch.bfloat16).step()
    assert torch.equal(filters, before)


def test_a_group_whose_schedule_has_ended_is_frozen():
    filters, head, _ = layers()
    sgd = {"rule": "sgd", "momentum": 0.85}
    optimizer = Muon(
        [{"params": [filters], "lr": 1.0, **sgd}, {"params": [head], "lr": 0.0, "epochs": 1, **sgd}], torch.float32
    )
    before = head.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        (filters.sum() + head.sum()).backward()
        optimizer.step()
    assert torch.equal(head, before)
    assert head.grad is None
    assert not head.requires_grad
    assert filters.requires_grad
