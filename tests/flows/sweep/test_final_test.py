"""The run that tests the best trial: started once, taken up, and begun anew where it ended without its results."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid5

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import State

from flows.sweep.controller import Controller
from flows.sweep.final_test import FinalTest
from flows.sweep.study import Plan, Study, journal
from lightline.config.params import Sweep

_SETTINGS = Sweep(sampler="tpe", pruner=None, trials=3, parallel=1, n_startup_trials=2, reduction_factor=3, seed=0)


class Runs:
    """As Prefect keeps runs: one a key. `ends`: how those that go end, one after the other."""

    name = "s"

    def __init__(self, *ends: StateType):
        self.ends, self.states, self.recorded = list(ends), {}, set()

    async def start(self, experiment: str, overrides: list[str], attempt: int | str, targets: list[str]) -> UUID:
        run = uuid5(UUID(int=0), f"{experiment} {attempt}")
        self.states.setdefault(run, StateType.RUNNING)
        return run

    async def read(self, run: UUID) -> SimpleNamespace:
        return SimpleNamespace(state=State(type=self.states[run]))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    journal(tmp_path, "s").parent.mkdir(parents=True)
    Study.create(journal(tmp_path, "s"), "s", Plan(["a=1,2,3"], "c" * 40, "val_loss"))
    return Study.open(journal(tmp_path, "s"), "s", _SETTINGS)


def run(study: Study, runs: Runs) -> StateType | None:
    async def is_recorded(experiment: str) -> bool:
        return experiment in runs.recorded

    test = FinalTest(study, runs, is_recorded)  # type: ignore[arg-type]

    async def wait(found: SimpleNamespace) -> None:
        assert test.run is not None
        runs.states[test.run] = runs.ends.pop(0)

    found = asyncio.run(test.run_to_its_end("s-best", ["a=1"], wait))  # type: ignore[arg-type]
    assert test.run is None
    if found is None:
        return None
    assert found.state is not None
    return found.state.type


C, F, X, D = StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED


@pytest.mark.parametrize(
    ("ends", "expected", "num_runs"),
    [([C], C, 1), ([D, C], C, 2), ([D, D, C], C, 3), ([D, D, D], D, 3), ([F], F, 1), ([X], X, 1)],
)
def test_a_killed_one_goes_on_and_one_that_failed_or_was_cancelled_does_not_by_itself(study, ends, expected, num_runs):
    runs = Runs(*ends)
    assert run(study, runs) == expected
    assert len(runs.states) == num_runs


@pytest.mark.parametrize("left", [F, X, D, StateType.CANCELLING])
def test_the_same_command_begins_anew_what_has_ended_without_its_results(study, left):
    runs = Runs(C)
    asyncio.run(runs.start("s-best", [], 0, []))
    runs.states = dict.fromkeys(runs.states, left)
    assert run(study, runs) == C
    assert len(runs.states) == 2
    assert run(study, runs) == C, "and what has its results is not begun again"
    assert len(runs.states) == 2


def test_what_runs_is_taken_up(study):
    runs = Runs(C)
    asyncio.run(runs.start("s-best", [], 0, []))
    assert run(study, runs) == C
    assert len(runs.states) == 1


@pytest.mark.parametrize("left", [StateType.RUNNING, X, D, None])
def test_one_whose_experiment_is_there_is_not_waited_for_or_begun_again(study, left):
    """Its server has gone, and so does not hear of its end; or it was ended behind its experiment."""
    study.test_attempt("s-best")
    runs = Runs()
    if left is not None:
        asyncio.run(runs.start("s-best", [], 0, []))
        runs.states = dict.fromkeys(runs.states, left)
    runs.recorded.add("s-best")
    num_runs = len(runs.states)
    assert run(study, runs) is None
    assert len(runs.states) == num_runs


def test_an_experiment_of_that_name_that_the_sweep_has_not_asked_for_is_not_taken_for_it(study):
    runs = Runs(F)
    runs.recorded.add("s-best")
    assert run(study, runs) == F  # the run itself refuses the name


def test_a_trial_reports_an_epoch_by_the_last_validation_in_it(study):
    trial = study.ask()
    assert trial is not None
    controller = Controller(None, study, Runs(), _SETTINGS, 3, None)  # type: ignore[arg-type]
    rows = [
        {"epoch": 0.3, "val_loss": 3.0},
        {"epoch": 0.6, "val_loss": 2.0},
        {"epoch": 1},
        {"epoch": 1.3, "val_loss": 1.0},
    ]
    controller._report(trial, rows[:2])
    assert not study.reported(trial.number)
    controller._report(trial, rows)
    assert study._study.trials[0].intermediate_values == {1: 2.0}


def test_a_trial_reports_whole_epochs_alone(study):
    trial = study.ask()
    assert trial is not None
    controller = Controller(None, study, Runs(), _SETTINGS, 3, None)  # type: ignore[arg-type]
    rows = [{"epoch": epoch, "val_loss": 10 - epoch} for epoch in (0, 0.5, 1, 1.5, 2, 2.25)]
    controller._report(trial, rows)
    controller._report(trial, [*rows, {"epoch": 3, "val_loss": 1.0}])
    assert study.reported(trial.number) == {1, 2, 3}
    assert study.table()[0].epochs == 3
