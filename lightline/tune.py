"""Find a learning rate or a batch size before training, with Lightning's Tuner; nothing is kept of what is learnt.

python -m lightline.tune lr_find        after `dvc repro split`; draws reports/tune/lr_find.png
python -m lightline.tune batch_size
"""

from lightline.stage import run_stage  # isort: skip  (first: it sets up threads before torch loads)

import argparse
import shlex
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import yaml
from lightning.pytorch.tuner.tuning import Tuner

from lightline.composition import CompositionError, overrides_for, setting_file
from lightline.cores import counted_training
from lightline.dataset import Dataset
from lightline.errors import LightlineError
from lightline.files import whole_file
from lightline.params import Params
from lightline.params_file import PARAMS_FILE
from lightline.splits import read_splits
from lightline.threads import use_share
from lightline.trainer import build_trainer
from lightline.training import Task, prepare

CURVE = Path("reports/tune/lr_find.png")
_MIN_LR, _MAX_LR = 1e-6, 10.0
_LARGEST_BATCH = 8192
_ENDLESS = 10_000  # epochs


def find_lr(params: Params, num_steps: int) -> float:
    """The learning rate at which the loss falls fastest, in a training whose rate grows from 1e-6 to 10.

    The method is L. Smith's ("Cyclical learning rates for training neural networks", WACV 2017). Writes CURVE.
    """
    with _tuner(params) as (tuner, module, data):
        finder = tuner.lr_find(
            module, datamodule=data, min_lr=_MIN_LR, max_lr=_MAX_LR, num_training=num_steps, update_attr=False
        )
        lr = finder.suggestion() if finder is not None else None
        if finder is None or lr is None:
            raise LightlineError(
                f"In {num_steps} steps no learning rate stood out; try more, as in `lr_find --steps {4 * num_steps}`."
            )
        figure: Any = finder.plot(suggest=True)
    with whole_file(CURVE) as temporary:
        figure.savefig(temporary, dpi=120)
    return lr


def find_batch_size(params: Params) -> int:
    """The largest power of two that fits the device, at most the training images or 8192."""
    with _tuner(params) as (tuner, module, data):
        found = tuner.scale_batch_size(
            module, datamodule=data, init_val=16, max_val=min(_LARGEST_BATCH, len(data.train)), steps_per_trial=2
        )
    if found is None:
        raise LightlineError("Lightning found no batch size that fits.")
    return found


@contextmanager
def _tuner(params: Params) -> Iterator[tuple[Tuner, lightning.LightningModule, Any]]:
    # The search ends after its steps, however few of them a small set has in an epoch.
    endless = params.trainer.model_copy(update={"max_epochs": _ENDLESS})
    params = params.model_copy(update={"trainer": endless})
    task = Task(params, Dataset(), read_splits(), "0" * 64)
    data, module = prepare(task)
    with counted_training(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        use_share(params.hardware, is_counted=True)
        warnings.simplefilter("ignore")  # of Lightning's, about callbacks it sets aside for the search
        yield Tuner(build_trainer(params, Path(folder), [])), module, data


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lightline.tune",
        description="Find a learning rate or a batch size for params.yaml as it stands, after `dvc repro split`.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    lr_find = commands.add_parser("lr_find", help="a learning rate, and the curve of losses it was read from")
    lr_find.add_argument("--steps", type=int, default=100, help="training steps to try rates in; default: 100")
    commands.add_parser("batch_size", help="the largest batch that fits the device")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what to put into conf/."""
    options = _parser().parse_args(arguments)

    def search(params: Params) -> None:
        if options.command == "lr_find":
            lr = float(f"{find_lr(params, options.steps):.2g}")
            print(f"The loss falls fastest at a learning rate of {lr:g}; {CURVE} shows the curve.")
            _advise("optimizer", params.optimizer.name, "lr", lr)
        else:
            _advise("trainer", "default", "batch_size", find_batch_size(params))

    run_stage(search)


def _advise(section: str, choice: str, key: str, value: float) -> None:
    try:
        others = overrides_for(yaml.safe_load(PARAMS_FILE.read_bytes()))
    except CompositionError:
        others = []  # there is no conf/, or another than params.yaml was composed from
    others = [override for override in others if not override.startswith(f"{section}.{key}=")]
    # What conf/ does not have, the value was found for, and the run has to be told.
    if not others:
        print(f"Put into {setting_file(section, choice, key)}:\n  {key}: {value:g}")
    overrides = [*others, f"{section}.{key}={value:g}"]
    command = "dvc exp run " + " ".join(f"-S {shlex.quote(override)}" for override in overrides)
    print(f"{'or try' if not others else 'Try'} it first: {command}")
    if others:
        print("`make keep EXP=NAME` then makes that experiment a recipe in conf/.")


if __name__ == "__main__":
    main()
