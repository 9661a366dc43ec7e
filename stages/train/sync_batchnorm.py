"""Batch normalisation over the batches of all processes, on the CPU too, and of timm's layers too.

torch's SyncBatchNorm needs a GPU, and its conversion of a network leaves the activation out that timm's layers hold.
"""

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightline.errors import ParameterError

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class BatchNormSync(LayerSync):
    """Lightning's plugin for `sync_batchnorm`: other layers while it trains, and the network's own again after that."""

    def __init__(self, on_cpu: bool):
        self._on_cpu = on_cpu
        self._own: dict[str, nn.Module] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the layers.

        Raises:
            ParameterError: there is none on this device for one of them.
        """
        self._own = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
        for name, module in self._own.items():
            model.set_submodule(name, self._synchronized(module))
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the network's own layers back, with what was learnt."""
        for name, module in self._own.items():
            module.load_state_dict(model.get_submodule(name).state_dict())
            model.set_submodule(name, module)
        self._own = {}
        return model

    def _synchronized(self, module: nn.Module) -> nn.Module:
        if not self._on_cpu:
            return _converted_for_gpu(module)
        if type(module) not in _PLAIN:
            raise ParameterError(
                f"trainer.sync_batchnorm: {type(module).__name__}, which model has, can be synchronised on GPUs alone. "
                "Set it to false, or choose another model."
            )
        return SyncBatchNorm(module)


def _converted_for_gpu(module: nn.Module) -> nn.Module:
    if type(module).__module__.startswith("timm."):
        from timm.layers.norm_act import convert_sync_batchnorm

        return convert_sync_batchnorm(module)
    return nn.SyncBatchNorm.convert_sync_batchnorm(module)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over [batch, channels, ...] of all processes, which must have equal batches.

    It shares its parameters and statistics with the layer that it is made of.
    """

    def __init__(self, layer: Any):
        super().__init__(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        self._parameters, self._buffers, self.training = layer._parameters, layer._buffers, layer.training

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        dims = [0, *range(2, input.ndim)]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        full = input.float()  # as torch computes statistics, whatever the precision
        mean = _Mean.apply(full.mean(dims))
        centred = full - mean.view(shape)
        variance = _Mean.apply(centred.square().mean(dims))
        self._track(mean.detach(), variance.detach(), input.numel() // input.shape[1] * dist.get_world_size())
        output = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            output = torch.addcmul(self.bias.view(shape), output, self.weight.view(shape))
        return output.to(input.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / max(count - 1, 1)).to(self.running_var.dtype), share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Leave it to the layer's own, which has seen such input before."""


class _Mean(torch.autograd.Function):
    """The mean over all processes; its gradient is the mean of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _mean(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _mean(gradients[0])


def _mean(value: Tensor) -> Tensor:
    value = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(value)
    return value / dist.get_world_size()
