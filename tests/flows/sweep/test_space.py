"""Spaces in Hydra's sweep grammar become Optuna's distributions, and their points overrides again."""

import math

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from flows.errors import RequestError
from flows.sweep.space import parse_space


@pytest.mark.parametrize(
    ("override", "expected", "size"),
    [
        ("optimizer.lr=tag(log, interval(0.01, 1))", FloatDistribution(0.01, 1.0, log=True), math.inf),
        ("optimizer.lr=interval(0.01, 1)", FloatDistribution(0.01, 1.0), math.inf),
        ("a.b=int(interval(1, 8))", IntDistribution(1, 8), 8),
        ("a.b=tag(log, int(interval(1, 8)))", IntDistribution(1, 8, log=True), 8),
        ("augment=choice(light,standard)", CategoricalDistribution(["light", "standard"]), 2),
        ("augment=light,standard", CategoricalDistribution(["light", "standard"]), 2),
        ("a.b=true,null", CategoricalDistribution(["true", "null"]), 2),
        ("a.b=[1,2],[3]", CategoricalDistribution(["[1,2]", "[3]"]), 2),
        ("a.b='x y',z", CategoricalDistribution(["'x y'", "z"]), 2),
        ("a.b=range(1,10,2)", IntDistribution(1, 9, step=2), 5),
        ("a.b=range(0.1,0.55,0.1)", FloatDistribution(0.1, 0.5, step=0.1), 5),
        ("a.b=range(5,1,-2)", IntDistribution(3, 5, step=2), 2),
    ],
)
def test_each_kind_of_sweep(override, expected, size):
    space = parse_space(["trainer.max_epochs=3", override])
    (found,) = space.searched.values()
    if isinstance(expected, FloatDistribution) and isinstance(found, FloatDistribution):
        assert (found.low, found.high, found.log) == pytest.approx((expected.low, expected.high, expected.log))
    else:
        assert found == expected
    assert space.size() == size
    assert space.fixed == ["trainer.max_epochs=3"]


def test_corners_have_every_choice_and_every_end():
    space = parse_space(["a=x,y,z", "b=interval(0, 0.5)", "c=1"])
    corners = [set(corner) for corner in space.corners()]
    assert corners == [
        {"c=1", "a=x", "b=0"},
        {"c=1", "a=y", "b=0"},
        {"c=1", "a=z", "b=0"},
        {"c=1", "a=x", "b=0.5"},
        {"c=1", "a=x", "b=0.309017"},
    ]
    assert space.overrides({"a": "y", "b": 0.123456789}) == ["c=1", "a=y", "b=0.123457"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], "nothing to search"),
        (["trainer.max_epochs=3"], "nothing to search"),
        (["a=interval(1"], "'a=interval(1' cannot be read"),
        (["a=interval(3, 1)"], "'a=interval(3, 1)' cannot be searched"),
        (["a=range(1,1)"], "it is empty"),
        (["a=tag(log, interval(0, 1))"], "cannot be searched"),
        (["a=range(1,10,0)"], "'a=range(1,10,0)' cannot be searched"),
        (["a=range(0,inf)"], "'a=range(0,inf)' cannot be searched"),
        (["a=interval(0,inf)"], "'a=interval(0,inf)' cannot be searched"),
        (["a=interval(nan,1)"], "'a=interval(nan,1)' cannot be searched"),
        (["a=tag(lgo, interval(1, 2))"], "the one tag is log, of an interval; not lgo"),
        (["a=tag(log, range(1, 9))"], "the one tag is log, of an interval; not log"),
        (["a=tag(log, choice(1, 9))"], "the one tag is log, of an interval; not log"),
        (["a=glob(*)"], "choice, range and interval can"),
        (["a=1,2", "a=3,4"], "a is searched twice"),
    ],
)
def test_what_cannot_be_searched_is_said(overrides, told):
    with pytest.raises(RequestError) as error:
        parse_space(overrides)
    assert told in str(error.value)
