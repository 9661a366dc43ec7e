"""A training's number of threads, which follows the other trainings of this machine from epoch to epoch.

A number for good would be wrong: of two trainings, the first would keep threads for all cores, wait at every step for
the one that the second has taken, and take many times as long as both one after the other.
"""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from lightline.config.params import Hardware
from lightline.models.device import share
from lightline.runtime.cores import num_trainings


class EpochThreads(Callback):
    """Decides the number at the start of an epoch, for all processes of a training.

    Attributes:
        number: in use. It is part of the state: what is left of an interrupted epoch goes on with as many, so that an
            interruption changes no digit.
    """

    def __init__(self, hardware: Hardware):
        self.number = share(hardware, num_sharing=1)
        self._hardware = hardware

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._hardware.num_threads == "auto":
            torch.set_num_threads(self.number)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainings = num_trainings()
        number = trainer.strategy.broadcast(share(self._hardware, trainings, trainer.num_devices))
        if number != self.number and trainer.is_global_zero and self._hardware.num_threads == "auto":
            print(f"threads from this epoch on: {number} (trainings on this machine: {trainings})", flush=True)
        self.number = number
        torch.set_num_threads(number)

    def state_dict(self) -> dict[str, Any]:
        return {"number": self.number}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.number = state_dict["number"]
