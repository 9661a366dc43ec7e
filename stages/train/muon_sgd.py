"""The optimizer of the airbench94 record: Muon for filters, SGD for the few parameters beside them."""

from collections.abc import Callable
from typing import Any

import torch

from stages.train.muon import orthogonalize


class MuonSGD(torch.optim.Optimizer):
    """Parameter groups with `orthogonal: True` hold filters [out, in, height, width]; the others go to SGD.

    Filters are rescaled to a norm of √out before each update, so that the learning rate means the same at every step;
    the update is orthogonalised as it is, without a scale for its shape. K. Jordan, airbench94_muon (2024).

    ns_dtype: what Muon's Newton–Schulz iteration computes in. A group's keys: lr, momentum (Nesterov's), weight_decay
    (SGD's), ns_steps (Muon's). A group whose schedule has brought its lr to zero is frozen: the way back to the first
    layer's bias alone is a twelfth of a step on a CPU.
    """

    def __init__(self, groups: list[dict[str, Any]], ns_dtype: torch.dtype):
        super().__init__([group for group in groups if group["params"]], {"weight_decay": 0.0, "ns_steps": 0})
        self._ns_dtype = ns_dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if not group["lr"]:
                _freeze(group)
                continue
            used = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in used:
                update = self._nesterov(parameter, group)
                if group["orthogonal"]:
                    parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
                    update = orthogonalize(update.flatten(1), group["ns_steps"], self._ns_dtype).view_as(update)
                parameter.add_(update, alpha=-group["lr"])
        return loss

    def _nesterov(self, parameter: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
        gradient = parameter.grad
        assert gradient is not None
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        return gradient.add(momentum, alpha=group["momentum"])


def _freeze(group: dict[str, Any]) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return  # DistributedDataParallel waits for the gradient of every parameter that had one at the start
    for parameter in group["params"]:
        parameter.requires_grad_(False)
        parameter.grad = None
