"""The tests of the gate: what they promise is held against simulated pairs of classifiers and against others' code."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from commands.promoting.statistics import (
    images_needed,
    macro_f1,
    mcnemar,
    mcnemar_power,
    not_inferior,
    paired_bootstrap,
    smallest_difference,
    spent_alpha,
)


def planted(images: int, discordance: float, difference: float, gates: int) -> np.ndarray:
    """int64 [gates, 2]: images that the second alone and the first alone gets right."""
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    return np.random.default_rng(0).multinomial(images, shares, gates)[:, :2]


def share_shown(counts: np.ndarray, alpha: float) -> float:
    test = cache(mcnemar)  # few counts are new
    return float(np.mean([test(better, worse) <= alpha for better, worse in counts.tolist()]))


def test_mcnemars_test_is_the_binomial_one():
    for better, worse in ((0, 0), (6, 0), (12, 10), (3, 9)):
        expected = binomtest(better, better + worse, alternative="greater").pvalue if better + worse else 1.0
        assert mcnemar(better, worse) == pytest.approx(expected)


@pytest.mark.parametrize(("images", "discordance"), [(270, 0.03), (270, 0.2), (10_000, 0.03)])
def test_equals_are_promoted_no_more_often_than_alpha(images, discordance):
    """1,000 gates; three deviations are allowed for."""
    alpha = spent_alpha(0.05, 1)
    found = share_shown(planted(images, discordance, 0.0, 1_000), alpha)
    assert found <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / 1_000)


@pytest.mark.parametrize(("images", "discordance", "difference"), [(270, 0.06, 0.04), (2_000, 0.05, 0.014)])
def test_power_is_as_computed(images, discordance, difference):
    computed = mcnemar_power(images, discordance, difference, 0.025)
    assert 0.6 < computed < 0.95
    found = share_shown(planted(images, discordance, difference, 1_000), 0.025)
    assert found == pytest.approx(computed, abs=3 * np.sqrt(computed * (1 - computed) / 1_000))


def test_comparisons_with_one_champion_share_alpha():
    """Of 500 champions, each met by 10 equals until one is promoted, at most alpha lose their place."""
    champions, tries, alpha = 500, 10, 0.05
    counts = planted(270, 0.2, 0.0, champions * tries).reshape(champions, tries, 2)
    alphas = [spent_alpha(alpha, number) for number in range(1, tries + 1)]
    assert sum(spent_alpha(alpha, number) for number in range(1, 10_000)) <= alpha

    test = cache(mcnemar)

    def lost(shares: list[float]) -> float:
        shown = [any(test(*pair) <= share for pair, share in zip(c.tolist(), shares, strict=True)) for c in counts]
        return float(np.mean(shown))

    assert lost(alphas) <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / champions)
    assert lost([alpha] * tries) > 3 * alpha  # which is why it is shared


@pytest.mark.parametrize(("images", "discordance", "margin"), [(270, 0.05, 0.02), (2_000, 0.04, 0.01)])
def test_what_is_worse_by_the_margin_is_seldom_called_no_worse(images, discordance, margin):
    """The score test is an approximation: a half more than alpha is what it is allowed."""
    test = cache(lambda better, worse: not_inferior(better, worse, images, margin))

    def share(difference: float) -> float:
        counts = planted(images, discordance, difference, 1_000)
        return float(np.mean([test(better, worse) <= 0.05 for better, worse in counts.tolist()]))

    assert share(-margin) <= 0.075
    assert share(0.0) > share(-margin) + 0.1
    assert share(margin) > 0.6


def test_without_a_margin_the_score_test_is_mcnemars():
    """Of Tango's test, the limit: (better - worse) / sqrt(better + worse)."""
    from scipy.stats import norm

    assert not_inferior(30, 12, 1_000, 1e-9) == pytest.approx(norm.sf(18 / np.sqrt(42)), rel=1e-4)


def test_the_digits_see_three_points_and_half_a_point_takes_thousands():
    discordance = 0.031
    smallest = smallest_difference(270, discordance, 0.025)
    assert smallest == pytest.approx(0.03, abs=0.001)
    assert mcnemar_power(270, discordance, smallest, 0.025) == pytest.approx(0.8, abs=0.01)
    assert images_needed(0.03, 0.005, 0.025) == pytest.approx(7.85 * 0.03 / 0.005**2, rel=0.001)
    assert smallest_difference(10_000, 0.03, 0.025) == pytest.approx(0.005, abs=0.0002)
    assert smallest_difference(5, 0.0, 0.025) is None  # even if all five spoke for it


def test_macro_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, (2, 200))
    assert macro_f1(labels, predicted, 4) == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-6)


def test_the_bootstrap_keeps_pairs_and_classes_together():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [300, 80, 20])
    first = np.where(rng.random(400) < 0.9, labels, (labels + 1) % 3)
    second = np.where(rng.random(400) < 0.02, (first + 1) % 3, first)
    losses = rng.exponential(0.3, 400)
    shifts = rng.normal(0.05, 0.1, 400)
    loss, f1 = paired_bootstrap(labels, (first, second), (losses, losses + shifts), 2_000)
    within = np.sqrt(sum(shifts[labels == label].var() * (labels == label).sum() for label in range(3))) / 400
    assert (loss.mean(), loss.std()) == (pytest.approx(shifts.mean(), abs=0.001), pytest.approx(within, rel=0.1))
    expected = macro_f1(labels, second, 3) - macro_f1(labels, first, 3)
    assert f1.mean() == pytest.approx(expected, abs=0.01)
    same = paired_bootstrap(labels, (first, first), (losses, losses), 200)
    assert (np.abs(same[0]).max(), np.abs(same[1]).max()) == (0, 0)
