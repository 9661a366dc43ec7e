"""Does the training loop with everything on cost more CPU than Lightning's bare one?

Ours: the project's LightningModule with loss, accuracy, history, progress bar, best and last checkpoint. Reference: a
plain module under `Trainer(barebones=True)`. Both take the same steps of SGD over the same prepared batches, with a
network so small that the loop is what costs; and, to see the floor, a loop written by hand. What the curves by step
cost is the difference to the same training without them.
"""

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.harness import Row, in_turn, measure, median_of
from benchmarks.settings import composed
from lightline.config.params import Params
from lightline.runtime.tracking import Run
from stages.train.callbacks import Progress
from stages.train.datamodule import ImageDataModule
from stages.train.history import History
from stages.train.image_sets import Batch
from stages.train.module import Classifier
from stages.train.trainer import build_trainer, keep_states

_BATCH, _SIZE, _CLASSES = 8, 8, 10
_MOST = 1.15  # times the bare Trainer's CPU a step
_CURVES = 1.01  # times the CPU a step without curves


def run(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    num_steps, num_epochs = (1000, 1) if quick else (2000, 2)
    steps = num_steps * num_epochs
    overrides = (
        f"trainer.max_epochs={num_epochs}", "trainer.precision=32-true", "trainer.ema_decay=null", "schedule=constant",
        "optimizer=sgd", "optimizer.lr=0.01", "optimizer.nesterov=false", "optimizer.weight_decay=0", "hardware=cpu",
    )  # fmt: skip
    params, plain = composed(*overrides), composed(*overrides, "trainer.log_every_n_steps=0")
    batches = _Batches(num_steps)
    pairs = in_turn(
        lambda: _ours(params, batches, num_epochs), lambda: _barebones(batches, num_epochs), pairs=2 if quick else 7
    )
    curves = in_turn(
        lambda: _ours(params, batches, num_epochs), lambda: _ours(plain, batches, num_epochs), pairs=4 if quick else 15
    )
    logged, silent = (seconds / steps * 1e6 for seconds in curves.seconds("cpu"))
    bare = [measure(lambda: _by_hand(batches, num_epochs)) for _ in range(3)]
    ours, reference = (seconds / steps * 1e6 for seconds in pairs.seconds("cpu"))
    ratio = pairs.ratio("cpu")
    by_hand = median_of(bare, "cpu") / steps * 1e6
    return [
        Row(
            "CPU µs a step, against Trainer(barebones=True)", f"{ours:.0f}", f"{reference:.0f}", pairs.ratio(), ratio,
            f"at most {_MOST} times the CPU", 1 / ratio <= _MOST,
        ),
        Row(
            f"CPU µs a step, with a row by step every {params.trainer.log_every_n_steps} against none", f"{logged:.0f}",
            f"{silent:.0f}", curves.ratio(), curves.ratio("cpu"), f"at most {_CURVES} times the CPU",
            1 / curves.ratio("cpu") <= _CURVES,
        ),
        Row("CPU µs a step, against a loop written by hand", f"{ours:.0f}", f"{by_hand:.0f}", cpu_ratio=by_hand / ours),
    ]  # fmt: skip


class _Batches(Dataset):
    """The same prepared batches for all."""

    def __init__(self, num_steps: int):
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(64, _BATCH, 3, _SIZE, _SIZE, generator=generator)
        labels = torch.randint(_CLASSES, (64, _BATCH), generator=generator)
        rows = torch.arange(_BATCH)
        self.kept = [Batch(*pair, rows) for pair in zip(images, labels, strict=True)]
        self.num_steps = num_steps

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, number: int) -> Batch:
        return self.kept[number % len(self.kept)]

    def loader(self) -> DataLoader:
        return DataLoader(self, batch_size=None)


class _Prepared(ImageDataModule):
    """The project's data module, with batches that are prepared already."""

    def __init__(self, batches: _Batches):
        lightning.LightningDataModule.__init__(self)
        self.batches = batches

    def setup(self, stage: str) -> None:
        pass

    def train_dataloader(self) -> DataLoader:
        return self.batches.loader()

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None, sampler=range(8))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        return batch


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * _SIZE * _SIZE, 16), nn.ReLU(), nn.Linear(16, _CLASSES))


def _ours(params: Params, batches: _Batches, num_epochs: int) -> None:
    with tempfile.TemporaryDirectory() as folder, _quietly():
        bar = Progress(console_kwargs={"force_terminal": True, "file": io.StringIO()})
        trainer = build_trainer(params)
        keep_states(trainer, params, Path(folder), History(Run(), params.trainer), [bar])
        trainer.fit(Classifier(_network(), params), _Prepared(batches))


def _barebones(batches: _Batches, num_epochs: int) -> None:
    trainer = lightning.Trainer(barebones=True, max_epochs=num_epochs, accelerator="cpu", devices=1)
    with _quietly():
        trainer.fit(_Plain(), batches.loader())


class _Plain(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = _network()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.network(batch.images), batch.targets)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01, 0.9)


def _by_hand(batches: _Batches, num_epochs: int) -> None:
    network = _network()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9)
    for _ in range(num_epochs):
        for batch in batches.loader():
            loss = nn.functional.cross_entropy(network(batch.images), batch.targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@contextlib.contextmanager
def _quietly():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
