"""Planted wrong labels are found, and as cleanlab finds them."""

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.stats import spearmanr

from lightline.models.label_errors import confident_joint, label_quality, suspects


def _planted(share: float, seed: int, num_classes: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of a good model, labels of which a share is wrong, and which those are."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(num_classes, size=3_000)
    logits = rng.normal(size=(3_000, num_classes))
    logits[np.arange(3_000), truth] += rng.gamma(6.0, 0.8, size=3_000)
    wrong = rng.random(3_000) < share
    labels = np.where(wrong, (truth + rng.integers(1, num_classes, size=3_000)) % num_classes, truth)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True), labels, wrong


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_planted_errors_are_found(share: float):
    probabilities, labels, wrong = _planted(share, 0)
    found = suspects(probabilities, labels)
    assert wrong[found].mean() >= 0.8
    assert found[wrong].mean() >= 0.8
    first = np.argsort(label_quality(probabilities, labels))[: int(wrong.sum() // 2)]
    assert wrong[first].mean() >= 0.95


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_cleanlab_finds_the_same(share: float):
    probabilities, labels, _ = _planted(share, 1)
    quality = label_quality(probabilities, labels)
    theirs = get_label_quality_scores(labels, probabilities, method="normalized_margin")
    assert spearmanr(quality, theirs).statistic >= 0.99
    found = suspects(probabilities, labels)
    issues = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    assert (found & issues).sum() >= 0.9 * max(found.sum(), issues.sum())


def test_a_class_without_images_is_nobody_s_likely_label():
    probabilities = np.array([[0.5, 0.1, 0.4], [0.2, 0.1, 0.7]])
    counts, likely = confident_joint(probabilities, np.array([0, 2]))
    assert counts[:, 1].sum() == 0
    assert likely.tolist() == [0, 2]
    assert not suspects(probabilities, np.array([0, 2])).any()
