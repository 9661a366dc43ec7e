"""What is to be made of the comparisons: findings, alarms, and an estimate of the accuracy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from commands.monitoring.drift import Comparison, compare, holm
from commands.monitoring.images import Images
from commands.monitoring.windows import Window
from lightline.config.params import Monitor

_Z = 1.959964  # of a 95% interval


@dataclass(frozen=True)
class Test:
    """A comparison, judged. p_value: after Holm's correction. found: significant, and the effect above its floor."""

    comparison: Comparison
    p_value: float
    found: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.comparison.of, self.comparison.test


@dataclass(frozen=True)
class Estimate:
    """The share of right answers that calibrated confidence expects, and its interval of 95 %, chance alone.

    It is an estimate: confidence was calibrated on images like the validation split's, and says nothing of others for
    sure.
    """

    accuracy: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Verdict:
    """A window, judged.

    tests: none where there are too few images to say. alarms: tests that found something in this window and in the one
    before it that was compared.
    """

    name: str
    images: int
    tests: list[Test]
    alarms: list[Test]
    estimate: Estimate | None

    @property
    def compared(self) -> bool:
        return bool(self.tests)

    @property
    def findings(self) -> list[Test]:
        return [test for test in self.tests if test.found]


def judge(reference: Images, windows: Iterable[Window], settings: Monitor) -> Iterator[Verdict]:
    """Compare window after window with the reference."""
    before: set[tuple[str, str]] = set()
    for number, window in enumerate(windows):
        if window.images < settings.min_images:
            yield Verdict(window.name, window.images, [], [], None)
            continue
        images = window.read()
        tests = find(compare(reference, images, number), settings)
        found = [test for test in tests if test.found]
        yield Verdict(window.name, window.images, tests, [test for test in found if test.key in before], expect(images))
        before = {test.key for test in found}


def find(comparisons: list[Comparison], settings: Monitor) -> list[Test]:
    """Tell which comparisons say that there is a difference that matters."""
    floors = settings.floors.model_dump()
    return [
        Test(one, p_value, p_value <= settings.alpha and one.effect > floors[one.measure])
        for one, p_value in holm(comparisons)
    ]


def expect(images: Images) -> Estimate:
    """Estimate the accuracy by the mean confidence.

    Each answer is taken for right as often as its confidence says, one independently of another.
    """
    confidence = images.confidence.astype(np.float64)
    mean, spread = float(confidence.mean()), float((confidence * (1 - confidence)).sum() ** 0.5) / len(confidence)
    return Estimate(mean, max(0.0, mean - _Z * spread), min(1.0, mean + _Z * spread))
