"""The gate between champion and challenger: PROMOTE what is shown to be better, REJECT what is shown to be worse.

HOLD is all between: on these images neither could be shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from commands.promoting.comparison import Comparison
from commands.promoting.statistics import (
    images_needed,
    macro_f1,
    mcnemar,
    not_inferior,
    paired_bootstrap,
    smallest_difference,
    spent_alpha,
)
from lightline.config.params import Evaluate, Promote
from stages.test.calibration import bin_numbers
from stages.test.slices import holm

PROMOTE, HOLD, REJECT = "PROMOTE", "HOLD", "REJECT"
_LEAST = 1e-12  # of a probability in a logarithm
_TINY = 0.01  # of the champion's log-loss: a part by which nobody would choose, however sure it is
_SHOWN = 5  # parts in a reason
_FINE = 0.005  # half a point, which the sentence on what could be seen asks for too


@dataclass(frozen=True)
class Score:
    """A number of both. lower, upper: of the challenger's less the champion's, at alpha on either side."""

    name: str
    champion: float
    challenger: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Part:
    """A class or slice: accuracies, and how likely it is that the challenger's is no lower, after Holm's correction."""

    by: str
    value: str
    images: int
    champion: float
    challenger: float
    p_worse: float


@dataclass(frozen=True)
class Accuracy:
    """Whose answers are right more often.

    Attributes:
        images: that were compared. better, worse: that the challenger or the champion alone gets right.
        p_better, p_worse, p_not_inferior: one-sided; the last one None without a margin.
    """

    images: int
    better: int
    worse: int
    p_better: float
    p_worse: float
    p_not_inferior: float | None

    def __str__(self) -> str:
        points = 100 * (self.better - self.worse) / self.images
        return (
            f"{points:+.2f} points on {self.images} images, of which it alone gets {self.better} right and the "
            f"champion alone {self.worse}"
        )

    @property
    def discordance(self) -> float:
        """The share of images that just one of the two gets right."""
        return (self.better + self.worse) / self.images


@dataclass(frozen=True)
class Judgement:
    """What came of a comparison.

    Attributes:
        verdict: PROMOTE, HOLD or REJECT. reasons: sentences.
        number, alpha: of this comparison among those with this champion on this test set.
        sight: what these images could have shown, as a sentence. smallest: that difference of accuracies; None: none.
        parts: those that are worse first.
    """

    verdict: str
    reasons: list[str]
    number: int
    alpha: float
    smallest: float | None
    sight: str
    accuracy: Accuracy
    scores: list[Score]
    parts: list[Part]


def judge(compared: Comparison, settings: Promote, evaluate: Evaluate, number: int) -> Judgement:
    """Judge a challenger. number: of the comparison, from 1 on: it has its own share of settings.alpha."""
    predicted = [one.argmax(1) for one in compared.probabilities]
    right = [one == compared.labels for one in predicted]
    accuracy, alpha = of_answers(right[0], right[1], settings.margin), spent_alpha(settings.alpha, number)
    scores = _scores(compared, predicted, settings, evaluate)
    parts = _parts(compared, right, evaluate.min_slice)
    shown, told = _good_enough(accuracy, alpha, settings)
    changed = int((predicted[0] != predicted[1]).sum())
    against = [*_worse(scores, parts, changed, settings), *_over_limits(scores, settings)]
    if accuracy.p_worse <= settings.alpha and not shown:
        against.insert(0, f"The challenger is less accurate: {accuracy} (p = {accuracy.p_worse:.2g}).")
    smallest = smallest_difference(accuracy.images, accuracy.discordance, alpha)
    return Judgement(
        verdict=REJECT if against else PROMOTE if shown else HOLD,
        reasons=against or [told],
        number=number,
        alpha=alpha,
        smallest=smallest,
        sight=_sight(accuracy, smallest, alpha, settings.margin),
        accuracy=accuracy,
        scores=scores,
        parts=parts,
    )


def of_answers(first: np.ndarray, second: np.ndarray, margin: float) -> Accuracy:
    """Test whose answers are right more often; first, second: bool [images], the champion's and the challenger's."""
    better, worse, images = int((second & ~first).sum()), int((first & ~second).sum()), len(first)
    p_not_inferior = not_inferior(better, worse, images, margin) if margin else None
    return Accuracy(images, better, worse, mcnemar(better, worse), mcnemar(worse, better), p_not_inferior)


def _good_enough(found: Accuracy, alpha: float, settings: Promote) -> tuple[bool, str]:
    """Say whether the challenger is good enough, and by which test."""
    if found.p_better <= alpha:
        tail = f"(McNemar's exact test: p = {found.p_better:.2g} ≤ {alpha:.2g})"
        return True, f"The challenger is more accurate: {found} {tail}."
    if found.p_not_inferior is None:
        tail = f"(McNemar's exact test: p = {found.p_better:.2g} > {alpha:.2g})"
        return False, f"The challenger is not shown to be more accurate: {found} {tail}."
    shown = found.p_not_inferior <= alpha
    return shown, (
        f"The challenger is {'' if shown else 'not shown to be '}less than {settings.margin:g} (promote.margin) below "
        f"the champion's accuracy: {found} (Tango's score test: p = {found.p_not_inferior:.2g} "
        f"{'≤' if shown else '>'} {alpha:.2g})."
    )


def _sight(found: Accuracy, smallest: float | None, alpha: float, margin: float) -> str:
    """Say what these images could have shown."""
    begin = f"{found.images} test images, of which the two differ on {found.discordance:.1%}, at alpha = {alpha:.2g}"
    if smallest is None:
        return f"{begin}, can show no difference at all."
    told = f"{begin}: a true difference of {100 * smallest:.2g} points would be seen four times in five"
    if smallest > _FINE:
        needed = images_needed(max(found.discordance, _FINE), _FINE, alpha)
        told += f", a smaller one less often; half a point takes about {needed:,} images"
    if margin:
        needed = images_needed(max(found.discordance, 1 / found.images), margin, alpha)
        told += f"; that two equals differ by less than promote.margin about {needed:,}"
    return f"{told}."


def _scores(compared: Comparison, predicted: list[np.ndarray], settings: Promote, evaluate: Evaluate) -> list[Score]:
    labels, classes = compared.labels, len(compared.classes)
    rows = np.arange(len(labels))
    first, second = (-np.log(np.maximum(one[rows, labels], _LEAST)) for one in compared.probabilities)
    drawn = paired_bootstrap(labels, (predicted[0], predicted[1]), (first, second), evaluate.bootstrap_samples)
    bounds = [np.quantile(one, [settings.alpha, 1 - settings.alpha]).tolist() for one in drawn]
    accuracy = [float((one == labels).mean()) for one in predicted]
    f1 = [macro_f1(labels, one, classes) for one in predicted]
    ece = [_calibration_error(one, labels, evaluate.calibration_bins) for one in compared.probabilities]
    return [
        Score("accuracy", *accuracy),
        Score("macro_f1", *f1, *bounds[1]),
        Score("loss", float(first.mean()), float(second.mean()), *bounds[0]),
        Score("ece", *ece),
        Score("latency_ms", *(1000 * seconds for seconds in compared.latency)),
        Score("size_bytes", compared.champion.size, compared.challenger.size),
    ]


def _calibration_error(probabilities: np.ndarray, labels: np.ndarray, num_bins: int) -> float:
    """Compute the expected calibration error, as `test` does."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    gaps = np.bincount(bin_numbers(confidence, num_bins), confidence - right)
    return float(np.abs(gaps).sum() / len(labels))


def _parts(compared: Comparison, right: list[np.ndarray], smallest: int) -> list[Part]:
    """Ask of each class, and of each slice of enough images, whether the challenger is worse there."""
    names = np.array(compared.classes, object)[compared.labels]
    columns: list[tuple[str, np.ndarray, int]] = [("class", names, 1)]
    columns += [(by, np.array(values, object), smallest) for by, values in compared.columns.items()]
    found = []
    for by, values, least in columns:
        for value in sorted({value for value in values.tolist() if value is not None}):
            here = values == value
            if here.sum() >= least:
                first, second = right[0][here], right[1][here]
                p_value = mcnemar(int((first & ~second).sum()), int((second & ~first).sum()))
                found.append(Part(by, value, int(here.sum()), float(first.mean()), float(second.mean()), p_value))
    corrected = holm([part.p_worse for part in found])
    parts = [Part(**{**vars(part), "p_worse": p}) for part, p in zip(found, corrected, strict=True)]
    return sorted(parts, key=lambda part: (part.p_worse, part.challenger - part.champion))


def _worse(scores: list[Score], parts: list[Part], changed: int, settings: Promote) -> Iterator[str]:
    """Say by what the challenger is shown to be worse; changed: images to which the two give another class."""
    _, f1, loss, *_ = scores
    assert loss.lower is not None
    assert f1.upper is not None
    if loss.lower > _TINY * loss.champion:
        yield f"Its log-loss is higher: {loss.challenger:.4g}, not {loss.champion:.4g}; by {loss.lower:.2g} at least."
    # Drawn from very few such images, the bootstrap is sure of what a coin does as well.
    if f1.upper < -settings.margin and 0.5**changed <= settings.alpha:
        yield f"Its macro F1 is lower: {f1.challenger:.4g}, not {f1.champion:.4g}; by {-f1.upper:.2g} at least."
    worse = [part for part in parts if part.p_worse <= settings.alpha]
    for part in worse[:_SHOWN]:
        yield (
            f"It is worse on {part.by} = {part.value}: {part.challenger:.3f} against {part.champion:.3f} of "
            f"{part.images} images (p = {part.p_worse:.2g} after Holm's correction)."
        )
    if len(worse) > _SHOWN:
        yield f"It is worse on {len(worse) - _SHOWN} more classes or slices."


def _over_limits(scores: list[Score], settings: Promote) -> Iterator[str]:
    _, _, _, ece, latency, size = scores
    if settings.max_ece is not None and ece.challenger > settings.max_ece:
        yield f"Its calibration error is {ece.challenger:.3f}, above promote.max_ece = {settings.max_ece:g}."
    limits = (
        (latency, settings.max_latency_ratio, "takes {:.2f} times as long as the champion", "max_latency_ratio"),
        (size, settings.max_size_ratio, "has {:.2f} times as many bytes as the champion", "max_size_ratio"),
    )
    for score, most, told, key in limits:
        ratio = score.challenger / score.champion
        if most is not None and ratio > most:
            yield f"It {told.format(ratio)}, above promote.{key} = {most:g}."
