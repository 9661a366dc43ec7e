"""Asks a sweep's study for trials, has them run, and tells the study how they were."""

import asyncio
import json
import logging
import math
import re
from contextlib import suppress
from time import monotonic
from typing import Any
from uuid import UUID

from optuna.trial import Trial, TrialState
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import FlowRun, StateType

from flows.crashes import clear
from flows.errors import StageError
from flows.git import Origin, experiment_here
from flows.own_command import run_own_command
from flows.sweep.final_test import FinalTest
from flows.sweep.study import ATTEMPT, CONTINUES, PRUNED, RUN_SECONDS, Study
from flows.sweep.trials import ATTEMPTS, Runs, has_ended, was_stopped
from lightline.config.params import Sweep as Settings
from lightline.runtime.experiment_files import read_file
from lightline.runtime.sweep_journal import label

_POLL = 1.0  # seconds
_SAME_ERRORS = 3  # in a row, which end a sweep
_PAGE = 60.0  # seconds between two pages, at least
_UNTAKEN = 30.0  # seconds after which it is said that no worker takes a run
_DEAD = 30.0  # seconds between two looks for runs whose processes are gone
_END = 90.0  # seconds for runs to end that are stopped


class Controller:
    """Asks, watches and tells, until there are enough trials; goes on with what an earlier one has left."""

    def __init__(self, origin: Origin, study: Study, runs: Runs, settings: Settings, max_epochs: int, logger: Any):
        """Make one for the runs of a study; max_epochs: of a trial, where that is not searched."""
        self._origin, self._study, self._runs, self._log = origin, study, runs, logger
        self._trials, self._parallel, self._max_epochs = settings.trials, settings.parallel, max_epochs
        self._open: dict[int, tuple[Trial, UUID]] = {}
        self._test = FinalTest(study, runs, self._is_there)
        self._adopted: set[int] = set()  # whose runs another controller has started
        self._errors: list[str] = []
        self._drawn, self._asked = 0.0, monotonic()
        self._taken = monotonic()  # when a run was last seen to be under way, or there was none

    async def run(self) -> str:
        """Search; gives what is to be said of it."""
        try:
            await self._take_up()
            while True:
                await self._notice_dead()
                for number in list(self._open):
                    await self._look(number)
                while len(self._open) < self._parallel and (trial := self._next()):
                    await self._start(trial)
                if not self._open:
                    break
                await asyncio.sleep(_POLL)
            return await self._finish()
        except BaseException:
            await asyncio.shield(self._stop_all())
            raise

    async def _take_up(self) -> None:
        """Go on with trials that had begun, and end runs that belong to none."""
        for frozen in self._study.open_trials():
            if frozen.state == TrialState.RUNNING:
                await self._start(self._study.resume(frozen.number), again=True)
        known = {run for _, run in self._open.values()}
        for run in await self._runs.left_running():
            if run.id not in known and run.name != self._study.tested():
                self._log.warning("Run %s belongs to no trial that is open: it is ended.", run.name)
                await self._runs.stop(run.id)

    async def _notice_dead(self) -> None:
        """Have runs of this machine known as crashed whose processes are gone: no worker asks after them by itself."""
        if monotonic() - self._asked > _DEAD:
            self._asked = monotonic()
            await clear([self._origin.home])

    def _next(self) -> Trial | None:
        waiting = any(trial.state == TrialState.WAITING for trial in self._study.open_trials())
        return self._study.ask() if waiting or self._study.num_asked() < self._trials else None

    async def _start(self, trial: Trial, again: bool = False) -> None:
        if again and await self._is_recorded(trial):
            return None
        attempt = trial.user_attrs.get(ATTEMPT, 0)
        overrides = self._study.space.overrides(trial.params)
        key = attempt if CONTINUES not in trial.user_attrs else f"continued-{attempt}"
        run = await self._runs.start(self._experiment(trial), overrides, key, ["train"])
        if again and was_stopped(await self._runs.read(run)) and PRUNED not in trial.user_attrs:
            trial.set_user_attr(ATTEMPT, attempt + 1)  # of a controller that was stopped, and its runs with it
            return await self._start(trial, again=True)
        self._open[trial.number] = trial, run
        if again:
            self._adopted.add(trial.number)
        self._log.info("trial %d: %s", label(trial), " ".join(overrides))
        return None

    def _experiment(self, trial: Trial) -> str:
        return self._runs.experiment(trial.user_attrs.get(CONTINUES, label(trial)))

    async def _look(self, number: int) -> None:
        """See how a trial's run is: report its epochs, end it where it is not worth more, tell how it has ended."""
        trial, run = self._open[number]
        state = await self._runs.read(run)
        self._watch_for_workers(state)
        if PRUNED not in trial.user_attrs:
            rows = await self._runs.rows(run)
            self._report(trial, rows)
            can_end = not has_ended(state) and CONTINUES not in trial.user_attrs and not self._is_through(trial, rows)
            if can_end and trial.should_prune():
                trial.set_user_attr(PRUNED, True)
                await self._runs.stop(run)
        if has_ended(state):
            await self._end(trial, state)
        elif number in self._adopted and await self._is_recorded(trial):
            del self._open[number]

    def _watch_for_workers(self, run: FlowRun) -> None:
        """Say, once, that nobody takes the runs."""
        if run.state is None or not run.state.is_scheduled():
            self._taken = monotonic()
        elif monotonic() - self._taken > _UNTAKEN:
            self._log.warning("No worker has taken run %s: `python -m flows.worker` starts one.", run.name)
            self._taken = float("inf")

    def _report(self, trial: Trial, rows: list[dict[str, Any]]) -> None:
        """Report each epoch that is over by the last validation in it."""
        known, monitor = self._study.reported(trial.number), self._study.plan.monitor
        values = {math.ceil(row["epoch"]): float(row[monitor]) for row in rows if monitor in row}
        for epoch in sorted(set(values) - {0, *known}):  # 0: before training
            if epoch <= rows[-1]["epoch"]:
                trial.report(values[epoch], epoch)

    def _is_through(self, trial: Trial, rows: list[dict[str, Any]]) -> bool:
        """Tell whether a trial has trained all its epochs, and so has nothing left that ending it would save."""
        searched = str(trial.params.get("trainer.max_epochs", ""))  # a choice is a text, and may be null
        last = int(searched) if searched.isdecimal() else self._max_epochs
        return bool(rows) and rows[-1]["epoch"] >= last

    async def _end(self, trial: Trial, run: FlowRun) -> None:
        assert run.state is not None
        del self._open[trial.number]
        if run.created and run.end_time:
            trial.set_user_attr(RUN_SECONDS, (run.end_time - run.created).total_seconds())
        value = await self._value(run)
        if run.state.type == StateType.COMPLETED and value is not None:
            self._study.tell(trial, value, TrialState.COMPLETE)
            self._errors.clear()
            told = f"{self._study.plan.monitor} {value:.4f}"
        elif PRUNED in trial.user_attrs:
            self._study.tell(trial, None, TrialState.PRUNED)
            told = "ended early; its state is kept"
        elif run.state.type == StateType.CRASHED and trial.user_attrs.get(ATTEMPT, 0) + 1 < ATTEMPTS:
            trial.set_user_attr(ATTEMPT, trial.user_attrs.get(ATTEMPT, 0) + 1)
            self._log.warning("trial %d: its processes were killed; it goes on", label(trial))
            return await self._start(trial, again=True)
        else:
            told = run.state.message or run.state.name or "no value"
            self._study.tell(trial, None, TrialState.FAIL, told)
            self._errors.append(re.sub(r"\d+", "#", told))
        self._log.info("trial %d: %s", label(trial), told)
        await self._show()
        last = self._errors[-_SAME_ERRORS:]
        if len(last) == _SAME_ERRORS and len(set(last)) == 1:
            await self._show(at_once=True)
            raise StageError(f"{_SAME_ERRORS} trials in a row ended with the same error: {told}")
        return None

    async def _is_recorded(self, trial: Trial) -> bool:
        """Tell the study how a trial was, where its experiment is there already."""
        if (value := await asyncio.to_thread(self._recorded, trial)) is None:
            return False
        self._study.tell(trial, value, TrialState.COMPLETE)
        self._log.info("trial %d: %s %.4f", label(trial), self._study.plan.monitor, value)
        return True

    def _recorded(self, trial: Trial) -> float | None:
        """Read the metric of an experiment whose run has ended without its server, which knows nothing of that."""
        if (commit := experiment_here(self._origin, self._study.plan.commit, self._experiment(trial))) is None:
            return None
        metrics = json.loads(read_file(commit, "reports/train/metrics.json", self._origin.home))
        return metrics[self._study.plan.monitor]

    async def _is_there(self, experiment: str) -> bool:
        return bool(await asyncio.to_thread(experiment_here, self._origin, self._study.plan.commit, experiment))

    async def _value(self, run: FlowRun) -> float | None:
        """Read the best epoch's metric from what a run that has ended shows."""
        rows = await self._runs.rows(run.id, "metrics")
        wanted = ("train", self._study.plan.monitor)
        return next((row["value"] for row in rows if (row["stage"], row["metric"]) == wanted), None)

    async def _show(self, at_once: bool = False) -> None:
        """Have the page and Prefect's table as the study is, not more often than once a minute."""
        if not at_once and monotonic() - self._drawn < _PAGE:
            return
        self._drawn = monotonic()
        table = [
            {"trial": row.number, "state": row.state, self._study.plan.monitor: row.value, **row.values}
            for row in self._study.table()
        ]
        await acreate_table_artifact(table, key="trials", description=f"Trials of sweep {self._runs.name}")
        if self._origin.is_here:
            status, lines = await run_own_command(self._origin.home, "sweep", self._runs.name)
            self._log.log(logging.WARNING if status else logging.INFO, "\n".join(lines))

    async def _finish(self) -> str:
        """Run the whole pipeline with the best trial's parameters: its test split is looked at for that one alone."""
        best = self._study.best()
        await self._show(at_once=True)
        if best is None:
            raise StageError("No trial came to its end: there is no best one. `show` says how each has ended.")
        experiment = self._study.name_test(self._runs.name, best)
        self._log.info("trial %d is the best: it is tested now, and it alone, as %s", label(best), experiment)
        overrides = self._study.space.overrides(best.params)
        run = await self._test.run_to_its_end(experiment, overrides, self._wait)
        told = f"experiment {experiment} is there"
        if run is not None:
            if not (run.state and run.state.is_completed()):
                raise StageError(f"The run of the best trial's parameters failed: {run.state and run.state.message}")
            told = str(run.state.message)
        return (
            f"trial {label(best)} is the best: {self._study.plan.monitor} {best.value:.4f}, with "
            f"{' '.join(overrides)}; {told}"
        )

    async def _wait(self, run: FlowRun) -> None:
        """Let a moment pass for a run that has not ended."""
        await self._notice_dead()
        self._watch_for_workers(run)
        await asyncio.sleep(_POLL)

    async def _stop_all(self) -> None:
        """End what runs: Prefect does not end the children of a parent that is gone."""
        runs = {run for _, run in self._open.values()} | ({self._test.run} if self._test.run else set())
        if runs:
            self._log.info("%d runs are ended, with their state saved, which takes up to %.0f s", len(runs), _END)
        with suppress(Exception):  # the server may be what is gone
            for run in runs:
                await self._runs.stop(run)
            end = monotonic() + _END
            while monotonic() < end and not all([has_ended(await self._runs.read(run)) for run in runs]):
                await asyncio.sleep(_POLL)
