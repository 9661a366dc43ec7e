"""An average of the weights, which is often better than the weights that training ends with."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn


class ExponentialMovingAverage(WeightAveraging):
    """Lightning's EMAWeightAveraging with a decay that grows: min(decay, (1 + step) / (10 + step)).

    With a constant one, a short training's average is mostly the random start. The rule is TensorFlow's
    (`tf.train.ExponentialMovingAverage`, num_updates). What begins with a network that answers already has the constant
    one, and the beginning counts: the fewer steps there are, the more of it is kept (M. Wortsman et al., "Robust
    fine-tuning of zero-shot models", CVPR 2022).
    """

    def __init__(self, decay: float, from_fitted: bool = False):
        """Take the decay a step; from_fitted: training begins with a network that answers already."""
        super().__init__(multi_avg_fn=self._average)
        self._largest, self._from_fitted = decay, from_fitted
        self._decay = 0.0

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the average where the network is: Lightning 2.6 makes it before the network is on its device."""
        super().on_fit_start(trainer, pl_module)
        assert self._average_model is not None
        self._average_model.to(pl_module.device)
        if self._from_fitted and not self._average_model.n_averaged:
            self._average_model.update_parameters(pl_module)  # the weights that all processes begin with count as one

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Take every step, and note its decay: a function of the step alone, so that resuming changes nothing."""
        if step_idx is None:
            return False
        self._decay = self._largest if self._from_fitted else min(self._largest, (1 + step_idx) / (10 + step_idx))
        return True

    def _average(self, averaged: list[torch.Tensor], current: list[torch.Tensor], num_averaged: Any) -> None:
        get_ema_multi_avg_fn(self._decay)(averaged, current, num_averaged)
