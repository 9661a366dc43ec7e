"""What a sweep searches, written in Hydra's sweep grammar, as Optuna's distributions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from flows.errors import RequestError

_HINT = "as in 'optimizer.lr=tag(log, interval(0.01, 1))' or 'augment=choice(light,standard)'"


@dataclass(frozen=True)
class Space:
    """What is searched, and what is not.

    Attributes:
        fixed: overrides of every trial.
        searched: distributions by key, as an override has it before the =.
        own: overrides of how to search, which the trials have nothing to do with.
    """

    fixed: list[str]
    searched: dict[str, BaseDistribution]
    own: list[str]

    def overrides(self, values: dict[str, Any]) -> list[str]:
        """Write a trial's overrides; values: by key, as the distributions gave them."""
        return [*self.fixed, *(f"{key}={_text(value)}" for key, value in values.items())]

    def corners(self) -> list[list[str]]:
        """List overrides in which each value that was named occurs; of an interval its ends and one inside."""
        checked = {key: _checked(distribution) for key, distribution in self.searched.items()}
        first = {key: values[0] for key, values in checked.items()}
        others = [first | {key: value} for key, values in checked.items() for value in values[1:]]
        return [[*self.own, *self.overrides(values)] for values in (first, *others)]

    def points(self) -> Iterator[dict[str, Any]]:
        """Go through all points of a finite space."""
        grids = {key: _grid(distribution) for key, distribution in self.searched.items()}
        for values in product(*grids.values()):
            yield dict(zip(grids, values, strict=True))

    def size(self) -> float:
        """Count the points; infinity where there is an interval."""
        return math.prod(_size(distribution) for distribution in self.searched.values())


def parse_space(overrides: Sequence[str]) -> Space:
    """Read overrides, of which some are sweeps.

    Raises:
        RequestError: one cannot be read or used, or none is a sweep.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, fixed, own, searched = OverridesParser.create(), [], [], {}
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise RequestError(f"{text!r} cannot be read: {' '.join(str(error).split())}") from None
        key = override.get_key_element()
        if not override.is_sweep_override():
            (own if key.partition(".")[0] == "sweep" else fixed).append(text)
            continue
        if key in searched:
            raise RequestError(f"{key} is searched twice: give it one sweep.")
        searched[key] = _distribution(text, override.value())
    if not searched:
        raise RequestError(f"There is nothing to search: give an override as a sweep, {_HINT}.")
    return Space(fixed, searched, own)


def _distribution(text: str, sweep: Any) -> BaseDistribution:
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, RangeSweep

    tags = getattr(sweep, "tags", set())
    is_log = "log" in tags
    if unknown := sorted(tags - {"log"} if isinstance(sweep, IntervalSweep) else tags):
        raise RequestError(
            f"{text!r} cannot be searched: the one tag is log, of an interval; not {', '.join(unknown)}."
        )
    try:
        if isinstance(sweep, ChoiceSweep):
            return CategoricalDistribution(list(dict.fromkeys(_written(value) for value in sweep.list)))
        if isinstance(sweep, RangeSweep) and sweep.start is not None and sweep.stop is not None:
            return _stepped(sweep.start, sweep.stop, sweep.step)
        if isinstance(sweep, IntervalSweep) and sweep.start is not None and sweep.end is not None:
            if not math.isfinite(sweep.end - sweep.start):
                raise ValueError("both ends must be finite")
            if isinstance(sweep.start, int) and isinstance(sweep.end, int):
                return IntDistribution(sweep.start, sweep.end, log=is_log)
            return FloatDistribution(float(sweep.start), float(sweep.end), log=is_log)
    except (ValueError, ArithmeticError) as error:  # steps of 0, ends that are no number or infinite
        raise RequestError(f"{text!r} cannot be searched: {error}") from None
    raise RequestError(f"{text!r} cannot be searched: choice, range and interval can, {_HINT}.")


def _written(value: Any) -> str:
    """Write a choice as Hydra's grammar has it."""
    from hydra.core.override_parser.types import Override, QuotedString

    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, QuotedString):
        return value.with_quotes()
    return Override._get_value_element_as_str(value)


def _stepped(start: float, stop: float, step: float) -> BaseDistribution:
    steps = math.ceil((stop - start) / step - 1e-9) - 1  # the end is no part of it
    if steps < 0:
        raise ValueError("it is empty")
    last = start + steps * step
    if all(isinstance(value, int) or float(value).is_integer() for value in (start, stop, step)):
        return IntDistribution(int(min(start, last)), int(max(start, last)), step=abs(int(step)))
    return FloatDistribution(min(start, last), max(start, last), step=abs(step))


def _checked(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = distribution.low, distribution.high
    if math.isfinite(_size(distribution)):
        return [low, high]
    return [low, high, low + (high - low) * (math.sqrt(5) - 1) / 2]  # one inside, as most no whole number


def _grid(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = distribution.step or 1  # of an interval of one point
    return [distribution.low + number * step for number in range(int(_size(distribution)))]


def _size(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.step is None:
        return 1 if distribution.single() else math.inf
    return round((distribution.high - distribution.low) / distribution.step) + 1


def _text(value: Any) -> str:
    # Six digits are enough to search with, and can be read.
    return f"{value:.6g}" if isinstance(value, float) else str(value)
