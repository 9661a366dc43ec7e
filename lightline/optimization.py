"""Optimizers and learning-rate schedules by the names in params.yaml. To add one: its class in `lightline/params.py`, a
branch here, a file in conf/optimizer/ or conf/schedule/.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from lightline.muon import Muon
from lightline.muon_sgd import MuonSGD
from lightline.params_training import SGD, Adam, Constant, Cosine, Linear, OneCycle, Optimizer, Schedule
from lightline.params_training import MuonSGD as MuonSGDSettings


def build_optimizer(settings: Optimizer, network: nn.Module, dtype: torch.dtype) -> torch.optim.Optimizer:
    """The optimizer over all trainable parameters of the network.

    dtype: what Muon multiplies its matrices in; the others ignore it.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    arguments = settings.model_dump(exclude={"name"})
    if isinstance(settings, Adam):
        arguments["betas"] = tuple(settings.betas)
        return (torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam)(parameters, **arguments)
    if isinstance(settings, SGD):
        return torch.optim.SGD(parameters, **arguments)
    if isinstance(settings, MuonSGDSettings):
        return MuonSGD(_record_groups(settings, network), dtype)
    inner = _inner_matrices(network)
    numbers = {id(parameter) for parameter in inner}
    rest = [parameter for parameter in parameters if id(parameter) not in numbers]
    return Muon(inner, rest, **arguments, ns_dtype=dtype)


def _inner_matrices(network: nn.Module) -> list[nn.Parameter]:
    """What Muon is for: weights of layers, but for the first and the last layer's.

    Class tokens, position embeddings and layer scales may have two dimensions or more too, but are no matrices.
    """
    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    return [parameter for name, parameter in named if name.endswith("weight") and parameter.ndim >= 2][1:-1]


def _record_groups(settings: MuonSGDSettings, network: nn.Module) -> list[dict[str, Any]]:
    """Filters by Muon; by SGD the head's weights, the first layer's bias and all else, each with its own rate."""
    named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    filters = [name for name, parameter in named.items() if parameter.ndim == 4]
    head = [name for name, parameter in named.items() if parameter.ndim == 2][-1:]
    stem = [name for name in list(named)[:1] if name.endswith("bias")]
    rest = [name for name in named if name not in (*filters, *head, *stem)]
    muon = {"orthogonal": True, "lr": settings.lr, "momentum": settings.momentum, "ns_steps": settings.ns_steps}
    groups = [{"params": [named[name] for name in filters], **muon}]
    for names, lr, extra in (
        (head, settings.head_lr, {}),
        (stem, settings.bias_lr, {"epochs": settings.stem_epochs}),
        (rest, settings.bias_lr, {}),
    ):
        sgd = {"orthogonal": False, "lr": lr, "momentum": settings.sgd_momentum, "weight_decay": settings.decay / lr}
        groups.append({"params": [named[name] for name in names], **sgd, **extra})
    return groups


def build_schedule(
    settings: Schedule, optimizer: torch.optim.Optimizer, num_steps: int, steps_per_epoch: float
) -> LRScheduler | None:
    """The schedule, to be stepped after every optimizer step, or None where the learning rate never changes.

    num_steps: all optimizer steps of the training. A parameter group that has `epochs` goes through a linear schedule
    in so many.
    """
    if isinstance(settings, Constant) and settings.warmup_epochs == 0:
        return None  # stepping through nothing costs a tenth of a small network's step
    if isinstance(settings, OneCycle):
        peaks = [group["lr"] for group in optimizer.param_groups]
        # Momentum stays as it is: Adam's betas and SGD's momentum are parameters of their own.
        arguments = settings.model_dump(exclude={"name"})
        if settings.pct_start * num_steps == 1:
            arguments["pct_start"] *= 0.99  # torch divides by the length of the warm-up less one step
        return OneCycleLR(optimizer, peaks, total_steps=num_steps, cycle_momentum=False, **arguments)
    warmup_steps = settings.warmup_epochs * steps_per_epoch
    factors = [
        _factor(settings, warmup_steps, min(num_steps, group.get("epochs", math.inf) * steps_per_epoch), group["lr"])
        for group in optimizer.param_groups
    ]
    return LambdaLR(optimizer, factors)


def _factor(settings: Constant | Linear | Cosine, warmup_steps: float, num_steps: float, lr: float):
    if isinstance(settings, Constant):
        return partial(_constant, warmup_steps)
    if isinstance(settings, Linear):
        return partial(_linear, warmup_steps, num_steps)
    return partial(_cosine, warmup_steps, num_steps, settings.eta_min / lr)


def _constant(warmup_steps: float, step: int) -> float:
    return min(1.0, (step + 1) / (warmup_steps + 1))


def _linear(warmup_steps: float, num_steps: float, step: int) -> float:
    if step < warmup_steps:
        return _constant(warmup_steps, step)
    return max(0.0, 1 - (step - warmup_steps) / max(1.0, num_steps - warmup_steps))


def _cosine(warmup_steps: float, num_steps: float, lowest: float, step: int) -> float:
    if step < warmup_steps:
        return _constant(warmup_steps, step)
    progress = min(1.0, (step - warmup_steps) / max(1.0, num_steps - warmup_steps))
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * progress)) / 2
