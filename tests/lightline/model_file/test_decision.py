"""The rule for "I don't know" and the sets keep what they promise, over many draws of the images they are fitted to."""

import math

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from lightline.model_file.decision import (
    Decision,
    fewest_images,
    fit_decision,
    fit_set_threshold,
    fit_threshold,
    highest_risk,
    judge,
)
from lightline.models.temperature import probabilities
from tests.support.tiny import tiny_params

_CLASSES = 5


def _population(rng: np.random.Generator, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that know something of the labels, and labels."""
    labels = rng.integers(_CLASSES, size=images)
    logits = rng.normal(size=(images, _CLASSES)).astype(np.float32)
    logits[np.arange(images), labels] += rng.exponential(3.0, size=images)
    return logits, labels


@pytest.mark.parametrize(("target_risk", "num_val"), [(0.1, 300), (0.05, 1_000), (0.02, 2_000)])
def test_the_risk_of_accepted_answers_is_kept_in_as_many_draws_as_promised(target_risk: float, num_val: int):
    rng = np.random.default_rng([7, num_val])
    logits, labels = _population(rng, 200_000)
    shares = probabilities(logits, 1.0)
    certainty, correct = shares.max(1), shares.argmax(1) == labels
    order = np.argsort(-certainty)
    risk = np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)  # of all answers from a threshold on
    kept = found = 0
    for _ in range(1_000):
        drawn = rng.integers(len(labels), size=num_val)
        threshold = fit_threshold(certainty[drawn], correct[drawn], target_risk, 0.95)
        found += threshold is not None
        accepted = 0 if threshold is None else int((certainty >= threshold).sum())
        kept += accepted == 0 or risk[accepted - 1] <= target_risk
    assert kept >= 950
    assert found >= 500  # a rule that accepts nothing keeps anything


@pytest.mark.parametrize(("coverage", "num_val"), [(0.9, 30), (0.95, 200), (0.99, 500)])
def test_sets_hold_the_class_as_often_as_asked(coverage: float, num_val: int):
    rng = np.random.default_rng([8, num_val])
    logits, labels = _population(rng, 100_000)
    of_label = probabilities(logits, 1.5)[np.arange(len(labels)), labels]
    covered = []
    for _ in range(1_000):
        threshold = fit_set_threshold(of_label[rng.integers(len(labels), size=num_val)], coverage)
        assert threshold is not None
        covered.append((of_label >= threshold).mean())
    spread = np.std(covered) / math.sqrt(len(covered))
    assert coverage - 4 * spread <= np.mean(covered) <= coverage + 1 / num_val + 4 * spread


def test_with_too_few_images_nothing_is_pretended():
    fewest = fewest_images(0.05, 0.95)
    certainty = np.linspace(0.5, 1.0, fewest)
    right = np.ones(fewest, bool)
    assert fit_threshold(certainty, right, 0.05, 0.95) == 0.0
    assert fit_threshold(certainty[1:], right[1:], 0.05, 0.95) is None
    assert fit_threshold(certainty[:0], right[:0], 0.05, 0.95) is None
    assert fit_set_threshold(np.ones(18), 0.95) is None
    assert fit_set_threshold(np.ones(19), 0.95) is not None


def test_probabilities_that_runtimes_may_round_apart_are_one():
    certainty = np.repeat([1.0, 1.0 - 1e-7, 0.5], 200)
    correct = np.repeat([True, True, False], 200)
    threshold = fit_threshold(certainty, correct, 0.05, 0.95)
    assert threshold == pytest.approx(0.75)


def test_the_bound_is_clopper_and_pearson_s():
    from scipy.stats import binomtest

    for errors, images in ((0, 10), (3, 50), (50, 1_000), (10, 10)):
        expected = binomtest(errors, images).proportion_ci(1 - 2 * 0.05, "exact").high
        assert highest_risk(errors, images, 0.95) == pytest.approx(expected)


def test_on_other_images_it_is_judged_by_what_the_file_answers():
    logits = np.log(np.array([[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.2, 0.2, 0.6]], np.float32))
    judged = judge(Decision(threshold=0.5, set_threshold=0.28, confidence=0.9), logits, np.array([0, 1, 2, 0]))
    assert judged["accepted_share"] == 0.75
    assert judged["selective_risk"] == pytest.approx(2 / 3, abs=1e-6)
    assert (judged["set_coverage"], judged["set_size"]) == (0.5, 1.5)
    assert (judged["set_coverage_lower"], judged["set_coverage_upper"]) == pytest.approx((0.097611, 0.902389), abs=1e-6)
    nothing = judge(Decision(threshold=2.0), logits, np.array([0, 1, 2, 0]))
    assert (nothing["accepted_share"], nothing["selective_risk"]) == (0, None)


def test_what_cannot_be_shown_is_said_with_what_it_would_take():
    logits, labels = _population(np.random.default_rng(4), 15)
    asked = tiny_params(export__target_risk=0.01, export__confidence=0.95, export__coverage=0.95).export
    decision = fit_decision(logits, labels, asked)
    assert (decision.threshold, decision.set_threshold) == (2.0, 0.0)
    risk, sets = decision.shortfalls
    assert "the 15 validation images cannot show" in risk
    assert f"at least {fewest_images(0.01, 0.95)}" in risk
    assert "for export.coverage = 0.95 the 15 validation images are too few, it takes 19" in sets
    card = decision.markdown(judge(decision, logits, labels))
    assert "It accepts none" in card
    assert card.count("**Not shown**") == 2
    asked = tiny_params(export__target_risk=None, export__coverage=None).export
    plain = fit_decision(logits[:0], labels[:0], asked)
    assert (plain.temperature, plain.shortfalls) == (1.0, [])


class _Known(ClassifierMixin, BaseEstimator):
    """A classifier whose inputs are its probabilities, for MAPIE."""

    def fit(self, inputs: np.ndarray, labels: np.ndarray) -> "_Known":
        self.classes_ = np.arange(_CLASSES)
        return self

    def predict_proba(self, inputs: np.ndarray) -> np.ndarray:
        return inputs

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return inputs.argmax(1)


@pytest.mark.parametrize(("coverage", "num_val"), [(0.8, 57), (0.95, 400)])
def test_mapie_makes_the_same_sets(coverage: float, num_val: int):
    logits, labels = _population(np.random.default_rng(5), num_val + 2_000)
    shares = probabilities(logits, 1.0)
    of_label = shares[np.arange(num_val), labels[:num_val]]
    threshold = fit_set_threshold(of_label, coverage)
    assert threshold is not None
    estimator = _Known().fit(shares, labels)
    mapie = SplitConformalClassifier(estimator, confidence_level=coverage, conformity_score="lac", prefit=True)
    _, sets = mapie.conformalize(shares[:num_val], labels[:num_val]).predict_set(shares[num_val:])
    # Theirs begin at the probability above which ours lies half the way to the next.
    np.testing.assert_array_equal(shares[num_val:] >= of_label[of_label > threshold].min() - 1e-9, sets[:, :, 0])
    ours = Decision(set_threshold=threshold).answers(logits[num_val:]).set
    assert not (sets[:, :, 0] & ~ours).any()
