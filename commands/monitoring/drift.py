"""Whether two sets of images differ, as a classifier sees them: tests, each with a p value and the size of its effect.

A test that finds something is not yet a difference that matters: with enough images any is significant. Hence the
effects, which do not grow with the number of images.

Sources: Rabanser, Günnemann, Lipton, "Failing Loudly" (2019), on which tests find what; Gretton et al., "A Kernel
Two-Sample Test" (JMLR 2012); Lopez-Paz, Oquab, "Revisiting Classifier Two-Sample Tests" (2017); Bergsma, "A bias
correction for Cramér's V" (2013).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import chi2, ks_2samp, mannwhitneyu
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from commands.monitoring.images import MEASURES, Images

_MOST = 500  # images of each side that the tests of embeddings take: more find little more, and take long
_PERMUTATIONS = 1_000  # enough for a p value that passes Holm's correction of some ten tests
_EXPECTED = 5.0  # images of a class, below which a chi-square test is none: such classes count as one
# Confidence is compared to so many decimal places: torch, onnxruntime and other machines differ in the further ones, in
# which the images that a model is sure of would all seem to have changed.
_PLACES = 3


@dataclass(frozen=True)
class Comparison:
    """What a test says. of: what was compared. effect: in the measure that `measure` names, 0 for no difference."""

    of: str
    test: str
    measure: str
    effect: float
    p_value: float


def compare(reference: Images, window: Images, seed: int = 0) -> list[Comparison]:
    """Compare images with those of the reference, by all that both have."""
    rng = np.random.default_rng(seed)
    found = [_ks("confidence", *(np.round(images.confidence, _PLACES) for images in (reference, window)))]
    found += [_ks(name, getattr(reference, name), getattr(window, name)) for name in MEASURES]
    found.append(classes(reference.probabilities, window.probabilities))
    if reference.embedding is not None and window.embedding is not None:
        known, new = _some(reference.embedding, rng), _some(window.embedding, rng)
        found += [mmd(known, new, rng), domain_classifier(known, new, rng)]
    return found


def _some(embedding: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.permutation(len(embedding))[:_MOST]  # at random even where all are taken: halves are made of them
    return embedding[chosen].astype(np.float64)


def _ks(of: str, reference: np.ndarray, window: np.ndarray) -> Comparison:
    """Kolmogorov's and Smirnov's test; its effect is the largest distance between the two distributions, 0 to 1."""
    found: Any = ks_2samp(reference, window, method="asymp")
    return Comparison(of, "Kolmogorov-Smirnov", "ks", float(found.statistic), float(found.pvalue))


def classes(reference: np.ndarray, window: np.ndarray) -> Comparison:
    """Compare how often each class is the likeliest; the effect is Cramér's V, 0 to 1.

    Bergsma's correction takes off what chance gives; and V is that of two sets of equal size, so that it does not
    depend on how many images a window has. reference, window: probabilities, float [images, classes].
    """
    counts = np.stack([np.bincount(of.argmax(1), minlength=of.shape[1]) for of in (reference, window)]).astype(float)
    rare = counts.sum(0) * counts.sum(1).min() / counts.sum() < _EXPECTED
    counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
    counts = counts[:, counts.sum(0) > 0]
    total, freedom = counts.sum(), counts.shape[1] - 1
    expected = np.outer(counts.sum(1), counts.sum(0)) / total
    statistic = float(((counts - expected) ** 2 / expected).sum())
    shares = counts.sum(1) / total
    squared = max(0.0, statistic - freedom) / total / (4 * shares.prod())
    p_value = float(chi2.sf(statistic, freedom)) if freedom else 1.0
    return Comparison("predicted classes", "chi-square", "cramers_v", min(1.0, float(squared) ** 0.5), p_value)


def mmd(reference: np.ndarray, window: np.ndarray, rng: np.random.Generator) -> Comparison:
    """Test the maximum mean discrepancy by permutation, with a Gaussian kernel as wide as the median distance.

    The effect is the unbiased estimate of MMD² as a share of what it would be if the two had nothing in common: of the
    mean kernels within either. reference, window: float [images, features].
    """
    both = np.concatenate([reference, window])
    squares = cdist(both, both, "sqeuclidean")
    kernel = np.exp(-squares / max(float(np.median(squares[np.triu_indices(len(both), 1)])), 1e-12))
    np.fill_diagonal(kernel, 0.0)
    first = np.tile((np.arange(len(both)) < len(reference)).astype(np.float32), (1 + _PERMUTATIONS, 1))
    rng.permuted(first[1:], axis=1, out=first[1:])
    within_first, within_second, across = _means(kernel.astype(np.float32), first)
    values = within_first + within_second - 2 * across
    p_value = (1 + int((values[1:] >= values[0]).sum())) / (1 + _PERMUTATIONS)
    share = float(values[0] / (within_first[0] + within_second[0]))
    return Comparison("embeddings", "MMD", "mmd", max(0.0, share), p_value)


def _means(kernel: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the mean kernel within the first set, within the second and across, [divisions], of divisions in two.

    kernel: float [images, images], its diagonal 0. first: 1 where an image is of the first set, [divisions, images].
    """
    m = first[0].sum()
    n = first.shape[1] - m
    within, total = ((first @ kernel) * first).sum(1, dtype=np.float64), kernel.sum(dtype=np.float64)
    touching = first.astype(np.float64) @ kernel.sum(1, dtype=np.float64)
    across = touching - within
    return within / (m * (m - 1)), (total - 2 * touching + within) / (n * (n - 1)), across / (m * n)


def domain_classifier(reference: np.ndarray, window: np.ndarray, rng: np.random.Generator) -> Comparison:
    """Train a logistic regression to tell the two apart on half of each, and test it by its ranks on the other halves.

    The effect is its AUC above 0.5, at most 0.5. reference, window: float [images, features].
    """
    halves = [(rng.permutation(len(of)) < len(of) // 2) for of in (reference, window)]
    scores = _scores(*(of[half] for of, half in zip((reference, window), halves, strict=True)))
    held = [scores(of[~half]) for of, half in zip((reference, window), halves, strict=True)]
    found: Any = mannwhitneyu(held[1], held[0], alternative="greater")
    auc = float(found.statistic) / (len(held[0]) * len(held[1]))
    return Comparison("embeddings", "domain classifier", "auc", max(0.0, auc - 0.5), float(found.pvalue))


def oddness(reference: Images, window: Images) -> np.ndarray:
    """Tell how much each image of the window looks as if it were none of the reference: float [images], any scale."""
    features = [_features(images, reference, window) for images in (reference, window)]
    return _scores(*features)(features[1])


def _features(images: Images, *both: Images) -> np.ndarray:
    if all(each.embedding is not None for each in both):
        return images.embedding.astype(np.float64)  # type: ignore[union-attr]
    return np.column_stack([images.confidence, *(getattr(images, name) for name in MEASURES)])


def _scores(reference: np.ndarray, window: np.ndarray):
    """Learn to tell the two apart; gives what scores other rows, the more the likelier they are of the window."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=200, tol=1e-3))
    of_window = np.repeat([False, True], [len(reference), len(window)])
    return model.fit(np.concatenate([reference, window]), of_window).decision_function


def holm(comparisons: list[Comparison]) -> Iterator[tuple[Comparison, float]]:
    """Give each test with its p value after Holm's correction for all of them."""
    from stages.test.slices import holm as corrected

    yield from zip(comparisons, corrected([one.p_value for one in comparisons]), strict=True)
