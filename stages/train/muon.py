"""Muon for filters and matrices, AdamW or SGD for everything else, in one optimizer, so that Lightning's automatic
optimization, schedulers and checkpoints need no special case.

Muon: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). torch.optim.Muon takes 2-D
weights only; here a convolution's filters [out, in, height, width] are one matrix [out, in·height·width].
"""

from collections.abc import Callable
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: torch.Tensor, ns_steps: int, dtype: torch.dtype) -> torch.Tensor:
    """Find the nearest semi-orthogonal matrix, roughly, by a quintic Newton–Schulz iteration; any 2-D shape.

    dtype: what the iteration computes in. bfloat16, the record's, is accurate enough.
    """
    a, b, c = _COEFFICIENTS
    x = matrix.to(dtype)
    x = x / (x.norm() + 1e-7)
    transposed = x.shape[0] > x.shape[1]
    if transposed:
        x = x.T
    for _ in range(ns_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if transposed else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Parameter groups, each updated by the rule that it names.

    A group's keys, beside lr and weight_decay:

    - rule "muon": momentum, nesterov, ns_steps; normalize (K. Jordan, airbench94_muon, 2024): before each update the
      filters [out, …] are brought to a norm of √out and the update has no scale for its shape, so that the learning
      rate means the same at every step.
    - rule "adamw": betas, eps.
    - rule "sgd": momentum, Nesterov's.

    A group that has `epochs` is frozen when its schedule has brought its lr to zero.

    ns_dtype: what the Newton–Schulz iteration computes in.
    """

    def __init__(self, groups: list[dict[str, Any]], ns_dtype: torch.dtype):
        defaults = {"weight_decay": 0.0, "nesterov": True, "normalize": False, "betas": (0.9, 0.999), "eps": 1e-8}
        super().__init__([group for group in groups if group["params"]], defaults)
        self._ns_dtype = ns_dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if not group["lr"] and "epochs" in group:
                _freeze(group)
                continue
            update = getattr(self, f"_{group['rule']}")
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.add_(update(parameter, parameter.grad, group), alpha=-group["lr"])
        return loss

    def _muon(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        update = self._momentum(parameter, grad, group)
        matrix = update.flatten(1)
        scale = 1.0
        if group["normalize"]:
            parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
        else:
            # An update of the size that AdamW's would have: root mean square 0.2 (Liu et al., "Muon is scalable for LLM
            # training", 2025), so that one learning rate serves all shapes.
            scale = 0.2 * max(matrix.shape) ** 0.5
        _decay(parameter, group)
        return orthogonalize(matrix, group["ns_steps"], self._ns_dtype).view_as(update) * scale

    def _sgd(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        decay = group["weight_decay"]
        return self._momentum(parameter, grad.add(parameter, alpha=decay) if decay else grad, group)

    def _momentum(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        momentum = state["momentum_buffer"].mul_(group["momentum"]).add_(grad)
        return grad.add(momentum, alpha=group["momentum"]) if group["nesterov"] else momentum

    def _adamw(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(grad)
            state["exp_avg_sq"] = torch.zeros_like(grad)
        state["step"] += 1
        first, second = group["betas"]
        state["exp_avg"].lerp_(grad, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(grad, grad, value=1 - second)
        step = state["step"].item()
        denominator = (state["exp_avg_sq"] / (1 - second**step)).sqrt_().add_(group["eps"])
        _decay(parameter, group)
        return state["exp_avg"] / (1 - first**step) / denominator


def _decay(parameter: torch.Tensor, group: dict[str, Any]) -> None:
    if group["weight_decay"]:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])


def _freeze(group: dict[str, Any]) -> None:
    """Ask for no more gradients: the way back to a first layer's bias alone is a twelfth of a step on a CPU."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return  # DistributedDataParallel waits for the gradient of every parameter that had one at the start
    for parameter in group["params"]:
        parameter.requires_grad_(False)
        parameter.grad = None
