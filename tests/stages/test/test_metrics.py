import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from stages.test.calibration import reliability
from stages.test.metrics import (
    ClassScores,
    bootstrap_accuracy,
    confusion_matrix,
    expected_calibration_error,
    macro,
    overall,
    per_class,
)


def made_up(num_images: int, num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 and labels of a classifier that is right about two times in three."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, num_images)
    logits = generator.normal(size=(num_images, num_classes)).astype(np.float32)
    logits[np.arange(num_images), labels] += 2
    return logits, labels


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


_REPORT_KEYS = ("support", "precision", "recall", "f1-score")  # of scikit-learn's classification report

# scikit-learn's metrics are the reference: another implementation of the same definitions.


def test_overall_agrees_with_scikit_learn():
    logits, labels = made_up(500, 8)
    found = overall(logits, labels)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, logits.argmax(1)))
    assert found["top5_accuracy"] == pytest.approx(sklearn_metrics.top_k_accuracy_score(labels, logits, k=5))
    assert found["loss"] == pytest.approx(sklearn_metrics.log_loss(labels, softmax(logits)))


@pytest.mark.parametrize("num_classes", [2, 5, 6])
def test_top5_is_there_only_where_it_says_something(num_classes: int):
    assert ("top5_accuracy" in overall(*made_up(50, num_classes))) == (num_classes > 5)


@pytest.mark.parametrize("num_classes", [2, 7])
def test_scores_of_each_class_agree_with_scikit_learn(num_classes: int):
    logits, labels = made_up(400, num_classes)
    predicted, names = logits.argmax(1), [f"class-{number}" for number in range(num_classes)]
    expected = sklearn_metrics.classification_report(labels, predicted, target_names=names, output_dict=True)
    scores = per_class(logits, labels, names)
    for number, score in enumerate(scores):
        auroc = sklearn_metrics.roc_auc_score(labels == number, softmax(logits)[:, number])
        row = expected[score.name]
        found = (score.images, score.precision, score.recall, score.f1, score.auroc)
        assert found == pytest.approx((*(row[key] for key in _REPORT_KEYS), auroc), abs=1e-6)
    assert macro(scores)["f1"] == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average="macro"), abs=1e-6)


def test_a_class_without_test_images_is_not_defined_and_counts_in_no_mean():
    logits, labels = made_up(200, 4)
    labels[labels == 3] = 0
    scores = per_class(logits, labels, list("abcd"))
    assert scores[3] == ClassScores("d", 0, None, None, None, None)
    assert macro(scores) == pytest.approx(macro(scores[:3]))


def test_where_every_image_is_of_one_class_only_auroc_is_undefined():
    logits, _ = made_up(20, 3)
    scores = per_class(logits, np.zeros(20, np.int64), list("abc"))
    assert scores[0].auroc is None
    assert scores[0].precision == 1
    assert macro(scores)["auroc"] is None
    assert macro(scores)["recall"] == pytest.approx((logits.argmax(1) == 0).mean())


def test_a_class_never_predicted_has_precision_zero():
    logits, labels = made_up(100, 3)
    logits[:, 2] = -100
    assert per_class(logits, labels, list("abc"))[2].precision == 0


def test_confusion_is_actual_by_predicted():
    found = confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_calibration_error_is_the_weighted_gap_of_the_bins():
    logits, labels = made_up(1000, 5)
    probabilities = softmax(logits)
    bins = reliability(probabilities.max(1), probabilities.argmax(1) == labels, 15)
    gap = sum(one.images * abs(one.confidence - one.accuracy) for one in bins) / 1000
    assert expected_calibration_error(logits, labels, 15) == pytest.approx(gap)
    assert sum(one.images for one in bins) == 1000
    assert all(one.low <= one.confidence <= one.high for one in bins)


def test_certainty_falls_into_the_last_bin():
    logits = np.array([[1000.0, 0.0]] * 4 + [[3.0, 0.0]] * 4)
    labels = np.array([0, 0, 1, 1, 0, 0, 0, 0])
    # One bin of eight images with accuracy 0.75, not two bins with 0.5 and 1.
    confidence = (4 * 1 + 4 * softmax(logits[4:])[:, 0].mean()) / 8
    assert expected_calibration_error(logits, labels, 10) == pytest.approx(confidence - 0.75)
    assert [one.images for one in reliability(np.array([1.0, 0.95]), np.array([True, False]), 10)] == [2]


def test_bootstrap_agrees_with_drawing_images():
    correct = np.arange(200) % 5 > 0
    generator = np.random.default_rng(1)
    drawn = [generator.choice(correct, len(correct)).mean() for _ in range(4000)]
    found = bootstrap_accuracy(correct, 4000, 0.95)
    assert found == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)
    assert found == bootstrap_accuracy(correct, 4000, 0.95)
    assert np.diff(bootstrap_accuracy(correct, 4000, 0.5))[0] < np.diff(found)[0]


def test_metrics_leave_torchs_random_numbers_alone():
    state = torch.get_rng_state()
    logits, labels = made_up(100, 6)
    overall(logits, labels)
    per_class(logits, labels, list("abcdef"))
    bootstrap_accuracy(labels > 2, 100, 0.9)
    assert torch.equal(state, torch.get_rng_state())
