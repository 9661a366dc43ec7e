"""Whether one classifier is better than another on the same images: tests, what they could have shown, and alpha.

In all of these `better` and `worse` count images that one of the two alone gets right, which is all that the accuracies
differ by.
"""

from math import sqrt

import numpy as np
from scipy.special import ndtri
from scipy.stats import binom, norm

POWER = 0.8  # how often a difference is shown that a comparison is said to see
_SEED, _BATCH = 0, 100  # the interval is a property of the answers, not of a run; samples at once


def spent_alpha(alpha: float, number: int) -> float:
    """Give the alpha of the comparison of this number, from 1 on: alpha / (number · (number + 1)).

    However many there are, these sum to alpha at most, and so false promotions are, by the union bound, no likelier
    than it (alpha-spending, as in D. P. Foster and R. A. Stine, 2008). Halving it each time would leave less for later
    ones: the fifth has 0.033 of alpha here, 0.031 there, the tenth 0.0091 and 0.00098.
    """
    return alpha / (number * (number + 1))


def mcnemar(better: int, worse: int) -> float:
    """Compute how likely as many `better` would be, were both equally good: one-sided (Q. McNemar, 1947; exact)."""
    return float(binom.sf(better - 1, better + worse, 0.5))


def not_inferior(better: int, worse: int, images: int, margin: float) -> float:
    """Compute how likely as good a result would be, were the accuracy lower by the margin: a one-sided p-value.

    The score test of T. Tango, 1998. margin: above 0, as a share of the images.
    """
    b = better + worse + (2 * images - better + worse) * margin
    root = b * b - 8 * images * worse * margin * (1 + margin)
    share = (sqrt(max(root, 0.0)) + b) / (4 * images)  # of `worse`, were the accuracy lower by just the margin
    deviation = sqrt(images * (2 * share - margin * (1 + margin)))
    return float(norm.sf((better - worse + images * margin) / deviation))


def mcnemar_power(images: int, discordance: float, difference: float, alpha: float) -> float:
    """Compute how often `mcnemar` is at most alpha, exactly.

    discordance: the share of images that just one of the two gets right. difference: of the accuracies, 0 to
    discordance.
    """
    low, high = binom.ppf([1e-9, 1 - 1e-9], images, discordance)
    counts = np.arange(int(low), int(high) + 1)
    share = 0.5 + difference / (2 * discordance)
    return float(binom.pmf(counts, images, discordance) @ binom.sf(binom.isf(alpha, counts, 0.5), counts, share))


def smallest_difference(images: int, discordance: float, alpha: float) -> float | None:
    """Find the smallest difference of accuracies that `mcnemar` shows with POWER; None: too few images for any.

    discordance: as it was found; a difference above it means that there is as much of it, too.
    """
    low, high = 0.0, 1.0
    if mcnemar_power(images, 1.0, 1.0, alpha) < POWER:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        shown = mcnemar_power(images, max(discordance, middle), middle, alpha) >= POWER
        low, high = (low, middle) if shown else (middle, high)
    return high


def images_needed(discordance: float, difference: float, alpha: float) -> int:
    """Estimate how many images it takes to see a difference with POWER.

    At an alpha of 0.025 that is 7.85 · discordance / difference² (R. J. Connor, 1987, without his correction for large
    differences). The same of a margin, where there is no difference.
    """
    return int(np.ceil((ndtri(1 - alpha) + ndtri(POWER)) ** 2 * discordance / difference**2))


def macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Average F1 over the classes that there are images of; labels, predicted: int [images]."""
    weights = np.ones((1, len(labels)), np.float32)
    return float(_macro_f1(weights, labels, predicted, classes)[0])


def _macro_f1(weights: np.ndarray, labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Give macro F1 of weighted images: float [samples]; weights: float32 [samples, images]."""
    numbers = np.arange(classes)
    actual, given = ((column[:, None] == numbers).astype(np.float32) for column in (labels, predicted))
    images, guesses, hits = weights @ actual, weights @ given, weights @ (actual * given)
    known = np.bincount(labels, minlength=classes) > 0
    return (2 * hits[:, known] / (images + guesses)[:, known]).mean(1)


def paired_bootstrap(
    labels: np.ndarray, predicted: tuple[np.ndarray, np.ndarray], losses: tuple[np.ndarray, np.ndarray], samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw images anew within each class, the same for both; give the second's less the first's loss and macro F1.

    labels, predicted: int [images]; losses: float [images]; returns float [samples] each (B. Efron and R. J.
    Tibshirani, 1993, chapter 8).
    """
    rng, classes = np.random.default_rng(_SEED), int(max(labels.max(), *(one.max() for one in predicted))) + 1
    rows_of = [np.flatnonzero(labels == number) for number in np.unique(labels)]
    found = []
    for start in range(0, samples, _BATCH):
        weights = np.zeros((min(_BATCH, samples - start), len(labels)), np.float32)
        for rows in rows_of:
            weights[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), len(weights))
        f1 = [_macro_f1(weights, labels, one, classes) for one in predicted]
        found.append((weights @ (losses[1] - losses[0]).astype(np.float32) / len(labels), f1[1] - f1[0]))
    loss, f1 = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return loss, f1
