"""Draw a sweep's trials, in a page that opens from disk, while it runs too.

python -m lightline sweep NAME
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightline.errors import DataError, LightlineError
from lightline.runtime.origin import origin
from lightline.runtime.sweep_journal import (
    FOLDER,
    cell,
    label,
    latest_value,
    load_study,
    no_such_sweep,
    real_trials,
    reason,
)

_FOLDER = Path("reports", "sweeps")


def main(arguments: Sequence[str]) -> int:
    """Write the page and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m lightline sweep", description="Draw a sweep's trials.")
    parser.add_argument("name", help="the sweep's, as `make sweep` had it")
    parser.add_argument("--output", type=Path, help=f"default: {_FOLDER}/NAME.html")
    options = parser.parse_args(arguments)
    try:
        print(_write(options.name, options.output or _FOLDER / f"{options.name}.html"))
    except LightlineError as error:
        sys.exit(f"error: {error}")
    return 0


def _write(name: str, output: Path) -> str:
    from commands.sweeping.drawings import drawings
    from lightline.files import whole_file
    from stages.report.page import render_static

    study, commit = _read(name)
    monitor = study.user_attrs["monitor"]
    keys = sorted({key for trial in study.trials for key in trial.params})
    best = study.best_trial if _finished(study) else None
    html = render_static(
        Path(__file__).parent / "sweeping",
        name=name,
        headline=_headline(study, monitor, best),
        where=f"Commit {commit[:12]}; {monitor} of the val split: the test split is looked at for the best one alone.",
        drawings=drawings(study, monitor),
        header=["trial", "state", monitor, "epochs", *keys, "why it failed"],
        rows=[_row(trial, keys) for trial in study.trials],
    )
    with whole_file(output) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return f"{_headline(study, monitor, best)}\nLook at it: {output.resolve()}"


def _read(name: str) -> tuple[Any, str]:
    """Read a sweep's study, without the trials that were asked for twice; and its commit.

    Raises:
        DataError: there is none.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what cannot be drawn is left out
    file = origin() / FOLDER / f"{name}.journal"
    if not file.is_file() or file.parent != origin() / FOLDER:
        raise DataError(no_such_sweep(file))
    kept = load_study(file, name)
    study = optuna.create_study(direction=kept.direction)
    study.add_trials(real_trials(kept))
    study.set_user_attr("monitor", kept.user_attrs["monitor"])
    return study, kept.user_attrs["commit"]


def _finished(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.value is not None and trial.state.name == "COMPLETE"]


def _headline(study: Any, monitor: str, best: Any) -> str:
    states = [trial.state.name for trial in study.trials]
    told = [f"{states.count(state)} {state.lower()}" for state in dict.fromkeys(states)]
    first = f"{len(states)} trial{'s' * (len(states) > 1)}: {', '.join(told)}." if states else "No trial yet."
    if best is None:
        return first
    values = ", ".join(f"{key} = {cell(value)}" for key, value in best.params.items())
    return f"{first} Trial {label(best)} is the best: {monitor} {best.value:.4f} with {values}."


def _row(trial: Any, keys: list[str]) -> list[str]:
    epochs = max(trial.intermediate_values, default=0)
    numbers = [label(trial), trial.state.name.lower(), latest_value(trial), epochs]
    return [cell(value) for value in (*numbers, *(trial.params.get(key) for key in keys), reason(trial))]
