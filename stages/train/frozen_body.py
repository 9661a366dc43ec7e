"""Fine-tuning in two parts: the last layer first, then all of the network."""

import lightning
from lightning.pytorch.callbacks import Callback
from torch import nn

from lightline.models.build import head_names


class FrozenBody(Callback):
    """In the first epochs only the last layer learns: the body keeps its weights and its running statistics.

    A new last layer starts at random; learning with it, the body would first lose what it brought along.
    """

    def __init__(self, num_epochs: int):
        self.num_epochs = num_epochs
        self._body: list[nn.Parameter] = []

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        network = _network(pl_module)
        heads = tuple(f"{name}." for name in head_names(network))
        named = network.named_parameters()
        self._body = [parameter for name, parameter in named if parameter.requires_grad and not name.startswith(heads)]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # Resumed in the middle of an epoch, Lightning does not start that epoch again.
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        learns = trainer.current_epoch >= self.num_epochs
        for parameter in self._body:
            parameter.requires_grad_(learns)
        network = _network(pl_module)
        heads = [network.get_submodule(name) for name in head_names(network)]
        for module in network.modules():
            if module not in heads and not any(module.children()):
                module.train(learns)


def _network(pl_module: lightning.LightningModule) -> nn.Module:
    network = pl_module.network
    assert isinstance(network, nn.Module)
    return network
