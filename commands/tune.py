"""Find a learning rate or a batch size by some steps of training, of which nothing is kept.

python -m lightline tune lr_find        after `dvc repro split`; draws reports/tune/lr_find.png
python -m lightline tune batch_size
"""

from lightline.runtime.stage import run_stage  # isort: skip  (first: it sets up threads before torch loads)

import argparse
import shlex
from collections.abc import Sequence

import yaml

from lightline.config.composition import CompositionError, overrides_for, setting_file
from lightline.config.load import PARAMS_FILE
from lightline.config.params import Params

_FEWEST, _MOST = 50, 10_000  # steps


def _steps(text: str) -> int:
    if not text.isdecimal() or not _FEWEST <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number from {_FEWEST} to {_MOST:,} is")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lightline tune",
        description="Find a learning rate or a batch size for params.yaml as it stands, after `dvc repro split`.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    lr_find = commands.add_parser("lr_find", help="a learning rate, and the curve of losses it was read from")
    lr_find.add_argument("--steps", type=_steps, default=200, help="training steps to try rates in; default: 200")
    commands.add_parser(
        "batch_size", help="the largest batch that fits the device and is a tenth of the images at most"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """Print what to put into conf/."""
    options = _parser().parse_args(arguments)
    # Here, because Lightning takes seconds to load, and `--help` is not to wait for it.
    from commands.tuning.batch_size import find_batch_size
    from commands.tuning.learning_rate import CURVE, find_lr

    def search(params: Params) -> None:
        if options.command == "lr_find":
            rates = find_lr(params, options.steps)
            print(f"The loss is lowest at a learning rate of {rates['lr']:g}; {CURVE} shows the curve.")
            if len(rates) > 1:
                print("All rates of the optimizer were raised together, in their proportion.")
            _advise("optimizer", params.optimizer.name, rates)
        else:
            sizes = find_batch_size(params)
            print(f"Tried, and fitting: {', '.join(map(str, sizes))} images.")
            _advise("trainer", "default", {"batch_size": sizes[-1]})

    run_stage(search, kept="nothing is kept of the steps that were tried")


def _advise(section: str, choice: str, values: dict[str, float]) -> None:
    try:
        others = overrides_for(yaml.safe_load(PARAMS_FILE.read_bytes()))
    except CompositionError:
        others = []  # there is no conf/, or another than params.yaml was composed from
    found = {f"{section}.{key}": f"{value:g}" for key, value in values.items()}
    others = [override for override in others if override.split("=")[0] not in found]
    # What conf/ does not have, the values were found for, and the run has to be told.
    if not others:
        for key, value in values.items():
            print(f"Put into {setting_file(section, choice, key)}:\n  {key}: {value:g}")
    overrides = [*others, *map("=".join, found.items())]
    command = "dvc exp run " + " ".join(f"-S {shlex.quote(override)}" for override in overrides)
    print(f"{'or try' if not others else 'Try'} it first: {command}")
    if others:
        print("`make keep EXP=NAME` then makes that experiment a recipe in conf/.")
