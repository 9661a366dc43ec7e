"""Studies in their journal: nothing is asked for twice, one writer, what an earlier process left."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from flows.errors import RequestError
from flows.sweep.study import CONTINUES, Plan, Study, journal, only_writer
from lightline.config.params import Sweep

_SETTINGS = Sweep(sampler="tpe", pruner=None, trials=20, parallel=1, n_startup_trials=2, reduction_factor=3, seed=0)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return _open(tmp_path, ["a=x,y,z", "b=1"])


def _open(home: Path, overrides: list[str]) -> Study:
    with only_writer(home, "s"):
        Study.create(journal(home, "s"), "s", Plan(overrides, "c" * 40, "val_accuracy"))
    return _again(home)


def _again(home: Path) -> Study:
    return Study.open(journal(home, "s"), "s", _SETTINGS)


def test_a_finite_space_is_searched_once_and_then_there_is_nothing_left(study, tmp_path):
    seen = []
    while trial := study.ask():
        seen.append(trial.params["a"])
        study.tell(trial, float(len(seen)), TrialState.COMPLETE)
    assert sorted(seen) == ["x", "y", "z"]
    assert study.num_asked() == 3
    best = _again(tmp_path).best()
    assert best is not None
    assert best.params["a"] == seen[-1]
    assert [row.state for row in study.table()] == ["complete"] * 3


def test_what_had_begun_is_taken_up_and_pruned_trials_can_go_on(study, tmp_path):
    first, second = study.ask(), study.ask()
    assert first is not None
    assert second is not None
    first.report(0.5, 1)
    again = _again(tmp_path)
    assert [trial.number for trial in again.open_trials()] == [first.number, second.number]
    assert again.reported(first.number) == {1}
    again.tell(again.resume(first.number), None, TrialState.PRUNED)
    assert again.continue_pruned() == 1
    assert again.continue_pruned() == 0
    going_on = again.ask()
    assert going_on is not None
    assert (going_on.user_attrs[CONTINUES], going_on.params) == (first.number, first.params)
    assert again.num_asked() == 2


def test_what_goes_on_with_pruned_trials_has_numbers_of_its_own(study):
    for _ in range(2):
        trial = study.ask()
        study.tell(trial, None, TrialState.PRUNED)
    assert study.continue_pruned() == 2
    for _ in range(2):
        study.tell(study.ask(), 0.5, TrialState.COMPLETE)
    assert [row.number for row in study.table()] == [0, 1, 2, 3]


def test_a_better_trial_that_comes_later_is_tested_beside_the_first(study, tmp_path):
    assert study.tested() is None
    study.tell(study.ask(), 0.5, TrialState.COMPLETE)
    assert study.name_test("s", study.best()) == study.name_test("s", study.best()) == "s-best"
    study.tell(study.ask(), 0.6, TrialState.COMPLETE)
    again = _again(tmp_path)
    assert again.tested() is None, "what was tested is another one"
    assert again.name_test("s", again.best()) == "s-best-001"
    assert _again(tmp_path).tested() == "s-best-001"


def test_names_and_second_writers_are_refused(tmp_path):
    with pytest.raises(RequestError, match="cannot name a sweep"):
        journal(tmp_path, "../up")
    with (
        only_writer(tmp_path, "s"),
        pytest.raises(RequestError, match="under way in process"),
        only_writer(tmp_path, "s"),
    ):
        pass
    with pytest.raises(RequestError, match="There is no sweep 's' here; there is none"):
        Study.open(journal(tmp_path, "s"), "s")
