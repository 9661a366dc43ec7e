"""A sweep's study: Optuna's, in a journal file that one process at a time writes."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from flows.errors import RequestError
from flows.sweep.engines import engines
from flows.sweep.space import Space, parse_space
from lightline.config.params import Sweep as Settings
from lightline.runtime.locks import lock
from lightline.runtime.sweep_journal import (
    DUPLICATE,
    FOLDER,
    LABEL,
    REASON,
    label,
    latest_value,
    load_study,
    no_such_sweep,
    real_trials,
    reason,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")
_DUPLICATES = 100  # in a row, after which there seems to be nothing new
# Keys of a trial's attributes; run_seconds: from when its run was asked for to its end.
RUN_SECONDS = "run_seconds"
ATTEMPT, CONTINUES, PRUNED = "attempt", "continues", "pruned"
# Attributes of the study: experiments by the numbers of the trials whose parameters they test, and attempts at them.
_TESTED, _TEST_ATTEMPTS = "tested", "test_attempts"

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Plan:
    """What a sweep is: written into its study, and the same as long as it has its name."""

    overrides: list[str]
    commit: str
    monitor: str  # the metric of the val split
    identity: str = ""  # of this study, should another of the same name follow it

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "maximize" if self.monitor.endswith("accuracy") else "minimize"


class Shown(NamedTuple):
    """A row of the table of trials."""

    number: int
    state: str
    value: float | None
    epochs: int
    values: dict[str, Any]
    reason: str


def journal(home: Path, name: str) -> Path:
    """Give the file of a sweep's study.

    Raises:
        RequestError: the name cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"{name!r} cannot name a sweep: up to 61 of a to z, A to Z, 0 to 9, - and _ can, the first no sign."
        )
    return home / FOLDER / f"{name}.journal"


@contextmanager
def only_writer(home: Path, name: str) -> Iterator[None]:
    """Hold a sweep's journal.

    Raises:
        RequestError: another process does.
    """
    file = journal(home, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not lock(descriptor):
            holder = os.pread(descriptor, 20, 0).decode() or "unknown"
            raise RequestError(f"Sweep {name!r} is under way in process {holder}. `show` says how far it is.")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        file.with_name(f"{file.name}.lock").unlink(missing_ok=True)  # Optuna's own, of a writer that was killed
        yield
    finally:
        os.close(descriptor)


class Study:
    """A sweep's trials, asked for and told."""

    def __init__(self, study: optuna.Study):
        self._study = study
        attributes = study.user_attrs
        self.plan = Plan(**{name: attributes[name] for name in ("overrides", "commit", "monitor", "identity")})
        self.space: Space = parse_space(self.plan.overrides)

    @classmethod
    def open(cls, file: Path, name: str, settings: Settings | None = None, max_epochs: int = 1) -> "Study":
        """Open one that is there; settings: of who will ask it.

        Raises:
            RequestError: there is none, or its file cannot be read.
        """
        if not file.exists():
            raise RequestError(no_such_sweep(file))
        sampler, pruner = engines(settings, max_epochs) if settings else (None, None)
        try:
            return cls(load_study(file, name, sampler=sampler, pruner=pruner))
        except (KeyError, ValueError) as error:
            raise RequestError(f"{file} cannot be read: {error}. Move it away, and the sweep begins anew.") from None

    @classmethod
    def create(cls, file: Path, name: str, plan: Plan) -> None:
        """Write a new one, whole or not at all."""
        new = file.with_suffix(".new")
        new.unlink(missing_ok=True)
        storage = JournalStorage(JournalFileBackend(str(new)))
        study = optuna.create_study(study_name=name, storage=storage, direction=plan.direction)
        for key, value in {**vars(plan), "identity": uuid4().hex}.items():
            study.set_user_attr(key, value)
        new.replace(file)

    def ask(self) -> Trial | None:
        """Begin a trial that no other is the same as; None where there seems to be none left."""
        for _ in range(_DUPLICATES):
            waiting = any(trial.state == TrialState.WAITING for trial in self._real())
            if not waiting and len(self._distinct()) >= self.space.size():
                return None
            trial = self._study.ask(self.space.searched)
            is_again = trial.params in [other.params for other in self._real() if other.number != trial.number]
            if not is_again or CONTINUES in trial.user_attrs:
                # Optuna's own numbers count what was asked for twice, too.
                labels = [other.user_attrs[LABEL] for other in self._real() if LABEL in other.user_attrs]
                trial.set_user_attr(LABEL, max(labels, default=-1) + 1)
                return trial
            trial.set_user_attr(DUPLICATE, True)
            self._study.tell(trial, state=TrialState.FAIL)
            if math.isfinite(self.space.size()):
                self._enqueue_new()
        return None

    def _enqueue_new(self) -> None:
        """Have a point of a finite space that no trial has had asked for next: a sampler may never come to it."""
        had = [trial.params for trial in self._real()]
        if point := next((point for point in self.space.points() if point not in had), None):
            self._study.enqueue_trial(point)

    def resume(self, number: int) -> Trial:
        """Take a trial up again that has not ended."""
        return Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)

    def tell(self, trial: Trial, value: float | None, state: TrialState, reason: str = "") -> None:
        """End a trial."""
        if reason:
            trial.set_user_attr(REASON, reason)
        self._study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)

    def open_trials(self) -> list[FrozenTrial]:
        """List those that have not ended."""
        return [trial for trial in self._real() if trial.state in (TrialState.RUNNING, TrialState.WAITING)]

    def num_asked(self) -> int:
        """Count the trials, those that go on with pruned ones left out."""
        return sum(CONTINUES not in trial.user_attrs for trial in self._real())

    def continue_pruned(self) -> int:
        """Have each pruned trial, and not only one, gone on with; gives how many."""
        begun = {trial.user_attrs.get(CONTINUES) for trial in self._real()}
        pruned = [trial for trial in self._real() if trial.state == TrialState.PRUNED and label(trial) not in begun]
        pruned = [trial for trial in pruned if CONTINUES not in trial.user_attrs]
        for trial in pruned:
            self._study.enqueue_trial(trial.params, user_attrs={CONTINUES: label(trial)})
        return len(pruned)

    def best(self) -> FrozenTrial | None:
        """Find the best of those that came to their end; the first of equal ones."""
        with suppress(ValueError):
            return self._study.best_trial
        return None

    def tested(self) -> str | None:
        """Name the experiment in which the best one was, or is, tested; None where it has not come to that."""
        best = self.best()
        return self._study.user_attrs.get(_TESTED, {}).get(str(label(best))) if best else None

    def name_test(self, name: str, best: FrozenTrial) -> str:
        """Name the experiment for the best one's test: an earlier best one keeps its own."""
        key, tested = str(label(best)), self._study.user_attrs.get(_TESTED, {})
        tested.setdefault(key, f"{name}-best-{label(best):03d}" if tested else f"{name}-best")
        self._study.set_user_attr(_TESTED, tested)
        return tested[key]

    def test_attempt(self, experiment: str, another: bool = False) -> int:
        """Give the number of the present attempt at a test; another: begin one."""
        attempts = self._study.user_attrs.get(_TEST_ATTEMPTS, {})
        if another or experiment not in attempts:
            attempts[experiment] = attempts.get(experiment, 0) + another
            self._study.set_user_attr(_TEST_ATTEMPTS, attempts)
        return attempts[experiment]

    def is_test_asked(self, experiment: str) -> bool:
        """Tell whether an attempt at a test has begun."""
        return experiment in self._study.user_attrs.get(_TEST_ATTEMPTS, {})

    def reported(self, number: int) -> set[int]:
        """Give the epochs, counted from 1, that a trial has reported."""
        return set(self._study.get_trials(deepcopy=False)[number].intermediate_values)

    def table(self) -> list[Shown]:
        """List all trials."""
        return [
            Shown(
                label(trial),
                trial.state.name.lower(),
                latest_value(trial),
                max(trial.intermediate_values, default=0),
                trial.params,
                reason(trial),
            )
            for trial in self._real()
        ]

    def _real(self) -> Sequence[FrozenTrial]:
        return real_trials(self._study)

    def _distinct(self) -> set[tuple[Any, ...]]:
        return {tuple(sorted(trial.params.items())) for trial in self._real()}
