"""Some steps of a training, of which nothing is kept: what the searches for settings try things in."""

from lightning.pytorch.callbacks import Callback

from lightline.config.params import Params
from lightline.config.training import Constant
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline.models.device import use_share
from lightline.runtime.cores import counted_training
from stages.train.datamodule import ImageDataModule
from stages.train.fit import Task, prepare
from stages.train.module import Classifier
from stages.train.start import start
from stages.train.trainer import build_trainer

_ENDLESS = 10_000  # epochs: a trial ends after its steps, however few of them a small set has in an epoch


def prepare_trial(params: Params) -> tuple[Params, ImageDataModule, Classifier]:
    """Prepare what is trained, as the parameters say, but at a constant learning rate and on one device."""
    trainer = params.trainer.model_copy(
        update={
            "max_epochs": _ENDLESS,
            "limit_train_batches": None,
            "fast_dev_run": False,
            "overfit_batches": 0,
            "val_check_interval": 1.0,
        }
    )
    hardware = params.hardware.model_copy(update={"devices": 1, "num_nodes": 1, "strategy": "auto"})
    schedule = Constant(name="constant", warmup_epochs=0.0)
    params = params.model_copy(update={"trainer": trainer, "hardware": hardware, "schedule": schedule})
    dataset = Dataset()
    task = Task(start(params, len(dataset.classes)), dataset, read_splits(), "0" * 64)
    return task.params, *prepare(task)


def steps_per_epoch(params: Params, data: ImageDataModule) -> float:
    """Compute the optimizer steps in which every training image is seen once."""
    return len(data.train) / (data.batch_size * params.trainer.accumulate_grad_batches)


def take_steps(
    params: Params, data: ImageDataModule, module: Classifier, num_steps: int, watcher: list[Callback]
) -> None:
    """Train for so many optimizer steps, without validation, with these callbacks alone."""
    with counted_training():
        use_share(params.hardware, is_counted=True)
        trainer = build_trainer(params)
        trainer.callbacks = watcher  # type: ignore[attr-defined]
        trainer.limit_val_batches = 0
        trainer.fit_loop.epoch_loop.max_steps = num_steps
        try:
            trainer.fit(module, data)
        except SystemExit:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
