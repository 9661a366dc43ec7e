"""Optimizers and learning-rate schedules by the names in params.yaml. To add one: its class in
lightline/config/training.py, a branch here, a file in conf/optimizer/ or conf/schedule/.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lightline.config.training import SGD, Adam, Constant, Cosine, Linear, OneCycle, Optimizer, Schedule
from lightline.config.training import Muon as MuonSettings
from lightline.config.training import MuonSGD as MuonSGDSettings
from stages.train.muon import Muon


def build_optimizer(settings: Optimizer, network: nn.Module, dtype: torch.dtype) -> torch.optim.Optimizer:
    """Build the optimizer over all trainable parameters of the network.

    dtype: what Muon multiplies its matrices in; the others ignore it.
    """
    arguments = settings.model_dump(exclude={"name", "layer_decay", "layer_decay_no_opt_scale"})
    if isinstance(settings, Adam):
        arguments["betas"] = tuple(settings.betas)
        adam = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        return adam(_groups_by_depth(network, settings.lr, settings.layer_decay), **arguments)
    if isinstance(settings, SGD):
        return torch.optim.SGD(_groups_by_depth(network, settings.lr, settings.layer_decay), **arguments)
    record = isinstance(settings, MuonSGDSettings)
    return Muon(_record_groups(settings, network) if record else _muon_groups(settings, network), dtype)


def freeze_blocks(settings: Optimizer, network: nn.Module) -> None:
    """Leave those blocks untrained whose rate would be less than layer_decay_no_opt_scale of the last one's.

    Where the first blocks are, nothing goes back through them: half the time of a step, or more.
    """
    if not isinstance(settings, (Adam, SGD)):
        return
    for depth, block in enumerate(_blocks(network)):
        if settings.layer_decay**depth < settings.layer_decay_no_opt_scale:
            for parameter in block:
                parameter.requires_grad_(False)


def _groups_by_depth(network: nn.Module, lr: float, decay: float) -> list[dict[str, Any]]:
    """Group parameters by blocks, each with decay × the rate of the block after it; the first group is the last's.

    As in ULMFiT (J. Howard, S. Ruder, 2018) and BEiT (H. Bao et al., 2022).
    """
    if decay == 1:
        return [{"params": [parameter for parameter in network.parameters() if parameter.requires_grad]}]
    return [{"params": block, "lr": lr * decay**depth} for depth, block in enumerate(_blocks(network))]


def _blocks(network: nn.Module) -> list[list[nn.Parameter]]:
    """List the trainable parameters by blocks, the last one first.

    A block is what the network's own lists hold: layer1.0, features.3, encoder.layers.encoder_layer_7; what lies in
    none is one by its first name.
    """
    blocks: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            blocks.setdefault(_block(network, name), []).append(parameter)
    return list(reversed(blocks.values()))


def _block(network: nn.Module, name: str) -> str:
    """Name the block of a parameter: up to the last number among the first three names of what holds its layer."""
    path = name.rpartition(".")[0]
    if not any(network.get_submodule(path).children()):
        path = path.rpartition(".")[0]
    parts = path.split(".")[:3]
    numbered = [place for place, part in enumerate(parts, start=1) if part[-1:].isdigit()]
    return ".".join(parts[: numbered[-1]] if numbered else name.split(".")[:1])


def _muon_groups(settings: MuonSettings, network: nn.Module) -> list[dict[str, Any]]:
    """Group weights of layers for Muon, but for the first and the last layer's; those and all else for AdamW.

    Class tokens, position embeddings and layer scales may have two dimensions or more too, but are no matrices.
    """
    named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    inner = [name for name, parameter in named.items() if name.endswith("weight") and parameter.ndim >= 2][1:-1]
    rest = [name for name in named if name not in inner]
    muon = settings.model_dump(include={"lr", "momentum", "nesterov", "ns_steps"})
    decay = {"weight_decay": settings.weight_decay}
    return [
        {"params": [named[name] for name in inner], "rule": "muon", **muon, **decay},
        {"params": [named[name] for name in rest], "rule": "adamw", "lr": settings.adamw_lr, **decay},
    ]


def _record_groups(settings: MuonSGDSettings, network: nn.Module) -> list[dict[str, Any]]:
    """Group filters for Muon; for SGD the head's weights, the first layer's bias and the rest, each with its rate."""
    named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    filters = [name for name, parameter in named.items() if parameter.ndim == 4]
    head = [name for name, parameter in named.items() if parameter.ndim == 2][-1:]
    stem = [name for name in list(named)[:1] if name.endswith("bias")]
    rest = [name for name in named if name not in (*filters, *head, *stem)]
    muon = settings.model_dump(include={"lr", "momentum", "ns_steps"})
    groups = [{"params": [named[name] for name in filters], "rule": "muon", "normalize": True, **muon}]
    for names, lr, extra in (
        (head, settings.head_lr, {}),
        (stem, settings.bias_lr, {"epochs": settings.stem_epochs}),
        (rest, settings.bias_lr, {}),
    ):
        sgd = {"rule": "sgd", "lr": lr, "momentum": settings.sgd_momentum, "weight_decay": settings.decay / lr}
        groups.append({"params": [named[name] for name in names], **sgd, **extra})
    return groups


def build_schedule(
    settings: Schedule,
    optimizer: torch.optim.Optimizer,
    num_steps: int,
    steps_per_epoch: float,
) -> LRScheduler | None:
    """Build the schedule, to be stepped after every optimizer step, or give None where the learning rate never changes.

    num_steps: all optimizer steps of the training. A parameter group that has `epochs` goes through the schedule in so
    many.
    """
    if isinstance(settings, Constant) and settings.warmup_epochs == 0:
        return None  # stepping through nothing costs a tenth of a small network's step
    warmup_steps = 0.0 if isinstance(settings, OneCycle) else settings.warmup_epochs * steps_per_epoch
    factors = []
    for group in optimizer.param_groups:
        steps = min(num_steps, group.get("epochs", math.inf) * steps_per_epoch)
        factors.append(_factor(settings, warmup_steps, steps, group["lr"]))
    return LambdaLR(optimizer, factors)


def _factor(
    settings: Constant | Linear | Cosine | OneCycle, warmup_steps: float, num_steps: float, lr: float
) -> Callable[[int], float]:
    if isinstance(settings, OneCycle):
        return partial(_one_cycle, settings, num_steps)
    if isinstance(settings, Constant):
        return partial(_constant, warmup_steps)
    if isinstance(settings, Linear):
        return partial(_linear, warmup_steps, num_steps)
    return partial(_cosine, warmup_steps, num_steps, settings.eta_min / lr)


def _one_cycle(settings: OneCycle, num_steps: float, step: int) -> float:
    """As torch's OneCycleLR."""
    lowest, peak = 1 / settings.div_factor, settings.pct_start * num_steps - 1
    if step < peak:
        return _half_wave(lowest, 1.0, step / peak)
    return _half_wave(1.0, lowest / settings.final_div_factor, (step - peak) / (num_steps - 1 - peak))


def _half_wave(start: float, end: float, progress: float) -> float:
    """Follow half a cosine wave; progress: 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def _constant(warmup_steps: float, step: int) -> float:
    return min(1.0, (step + 1) / (warmup_steps + 1))


def _linear(warmup_steps: float, num_steps: float, step: int) -> float:
    if step < warmup_steps:
        return _constant(warmup_steps, step)
    return max(0.0, 1 - (step - warmup_steps) / max(1.0, num_steps - warmup_steps))


def _cosine(warmup_steps: float, num_steps: float, lowest: float, step: int) -> float:
    if step < warmup_steps:
        return _constant(warmup_steps, step)
    return _half_wave(1.0, lowest, (step - warmup_steps) / max(1.0, num_steps - warmup_steps))
