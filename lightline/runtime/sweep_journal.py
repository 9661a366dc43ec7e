"""A sweep's journal, which flows/sweep writes and `python -m lightline sweep` draws: where it is, what counts in it."""

from pathlib import Path
from typing import Any

FOLDER = Path(".lightline", "sweeps")  # of the repository that has the sweep
DUPLICATE = "duplicate"  # attribute of a trial that was asked for again, and never ran
REASON = "reason"  # attribute: why a trial failed
LABEL = "label"  # attribute: a trial's number among the others; Optuna's own count those, too


def load_study(file: Path, name: str, **engines: Any) -> Any:
    """Open Optuna's study; engines: the sampler and the pruner of who will ask it."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(file))), **engines)


def no_such_sweep(file: Path) -> str:
    """Say that there is no such journal, and which there are."""
    there = ", ".join(sorted(path.stem for path in file.parent.glob("*.journal"))) or "none"
    return f"There is no sweep {file.stem!r} here; there is {there}."


def real_trials(study: Any) -> list[Any]:
    """List the trials, in their order, without those that were asked for again."""
    return [trial for trial in study.get_trials(deepcopy=False) if DUPLICATE not in trial.user_attrs]


def label(trial: Any) -> int:
    """Give the number that people see: of a trial's experiment, in tables and logs."""
    return trial.user_attrs.get(LABEL, trial.number)


def reason(trial: Any) -> str:
    """Give why a trial failed, in a line: of what a stage printed, the error comes last."""
    return "".join(trial.user_attrs.get(REASON, "").splitlines()[-1:]).strip()


def latest_value(trial: Any) -> float | None:
    """Give what a trial came to, or the last that it reported."""
    steps = trial.intermediate_values
    return trial.value if trial.state.name == "COMPLETE" else steps[max(steps)] if steps else None


def cell(value: Any) -> str:
    """Write a value of a table."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
