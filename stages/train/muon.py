"""Muon for filters and matrices, AdamW for everything else, in one optimizer, so that Lightning's automatic
optimization, schedulers and checkpoints need no special case.

Muon: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). torch.optim.Muon takes 2-D
weights only; here a convolution's filters [out, in, height, width] are one matrix [out, in·height·width].
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: torch.Tensor, ns_steps: int, dtype: torch.dtype) -> torch.Tensor:
    """The nearest semi-orthogonal matrix, roughly, by a quintic Newton–Schulz iteration; any 2-D shape.

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
    """Two parameter groups: `muon` weights of two or more dimensions, and the rest by AdamW.

    ns_dtype: what the Newton–Schulz iteration computes in.
    """

    def __init__(  # noqa: PLR0913 (settings, as torch's own optimizers take them)
        self,
        muon: Iterable[nn.Parameter],
        adamw: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float,
        nesterov: bool,
        ns_steps: int,
        weight_decay: float,
        adamw_lr: float,
        ns_dtype: torch.dtype,
    ):
        groups: list[dict[str, Any]] = [
            {"params": list(muon), "orthogonal": True, "lr": lr, "weight_decay": weight_decay},
            {"params": list(adamw), "orthogonal": False, "lr": adamw_lr, "weight_decay": weight_decay},
        ]
        super().__init__(
            [group for group in groups if group["params"]],
            {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps, "betas": (0.9, 0.999), "eps": 1e-8},
        )
        self._ns_dtype = ns_dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._orthogonal_update if group["orthogonal"] else self._adamw_update
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update(parameter, parameter.grad, group), alpha=-group["lr"])
        return loss

    def _orthogonal_update(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        momentum = state["momentum_buffer"].mul_(group["momentum"]).add_(grad)
        update = grad.add(momentum, alpha=group["momentum"]) if group["nesterov"] else momentum
        matrix = update.reshape(len(update), -1)
        # An update of the size that AdamW's would have: root mean square 0.2 (Liu et al., "Muon is scalable for LLM
        # training", 2025), so that one learning rate serves all shapes.
        scale = 0.2 * max(matrix.shape) ** 0.5
        return orthogonalize(matrix, group["ns_steps"], self._ns_dtype).view_as(update) * scale

    def _adamw_update(self, parameter: torch.Tensor, grad: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
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
        return state["exp_avg"] / (1 - first**step) / denominator
