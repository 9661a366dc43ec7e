"""Less of what Lightning does around each step in vain, where that takes a tenth of a small network's step.

Left out here is what takes less than about 50 µs a step; `python -m benchmarks training_loop` measures what is left.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning
import torch
from lightning.pytorch.profilers import PassThroughProfiler


class LeanModule(lightning.LightningModule):
    """A LightningModule of which two things that happen at every step take less time, with the same effect."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the hook it is in, 44 times a step; nn.Module would look each time whether it is a parameter.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        # As torch does it, but for its profiler's record of it, which takes longer than a small network's gradients.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None


class NoProfiler(PassThroughProfiler):
    """Lightning's own records nothing either, but makes a generator thirty times a step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._nothing
