"""Settings of optimizers and schedules, and a network to optimize."""

from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from lightline.config.training import Optimizer, Schedule
from tests.support import tiny

ADAM = {
    "name": "adam",
    "lr": 0.01,
    "layer_decay": 1.0,
    "layer_decay_no_opt_scale": 0.0,
    "betas": [0.8, 0.95],
    "eps": 1e-7,
    "weight_decay": 0.0,
}
SGD = tiny.SGD | {"weight_decay": 0.001}
MUON = {
    "name": "muon",
    "lr": 0.02,
    "momentum": 0.95,
    "nesterov": True,
    "ns_steps": 5,
    "weight_decay": 0.0,
    "adamw_lr": 0.003,
}
MUON_SGD = {
    "name": "muon_sgd",
    "lr": 0.24,
    "momentum": 0.6,
    "ns_steps": 3,
    "sgd_momentum": 0.85,
    "bias_lr": 0.053,
    "head_lr": 0.67,
    "stem_epochs": 2.0,
    "decay": 0.004,
}


def optimizer_settings(values: dict[str, Any]) -> Optimizer:
    return TypeAdapter(Optimizer).validate_python(values)


def schedule_settings(**values: Any) -> Schedule:
    return TypeAdapter(Schedule).validate_python(values)


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(6, 8), nn.Linear(8, 2))
