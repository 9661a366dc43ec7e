"""What the tests of drift find on the digits, at which size, and how often they find what is not there.

The classifier is a small one of scikit-learn, trained here on a third of the digits; reference and windows are others.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from commands.monitoring.drift import classes, compare, domain_classifier, mmd
from commands.monitoring.images import Images
from commands.monitoring.judgement import expect, find
from lightline.config.load import load_params
from lightline_predict.measures import measure_pixels

_TRAINED, _REFERENCE, _WINDOW = 500, 400, 200  # images
_SETTINGS = load_params().monitor
_KS, _CHI_SQUARE = "Kolmogorov-Smirnov", "chi-square"
_DOMAIN = ("embeddings", "domain classifier")


class Digits:
    """Digits that a classifier was not trained on, in a random order, and what it says of pixels."""

    def __init__(self, seed: int, unseen: int | None = None):
        digits = load_digits()
        order = np.random.default_rng(seed).permutation(len(digits.target))
        train = [row for row in order if digits.target[row] != unseen][:_TRAINED]
        self._model = MLPClassifier((32,), alpha=0.1, max_iter=100, random_state=0)
        with pytest.warns(match="Maximum iterations"):
            self._model.fit(digits.images[train].reshape(-1, 64) / 16, digits.target[train])
        rest = [row for row in order if row not in set(train)]
        self.labels = digits.target[rest]
        self.pixels = [np.repeat((digits.images[row] * 255 // 16).astype(np.uint8)[..., None], 3, 2) for row in rest]

    def images(self, rows: np.ndarray, change: Callable[[Image.Image], Image.Image] = lambda image: image) -> Images:
        pixels = [np.asarray(change(Image.fromarray(self.pixels[row]))) for row in rows]
        inputs = np.stack([one[..., 0].ravel() for one in pixels]) / 255
        hidden = np.maximum(inputs @ self._model.coefs_[0] + self._model.intercepts_[0], 0)
        measured = np.array([measure_pixels(one) for one in pixels]).T
        probabilities = self._model.predict_proba(inputs).astype(np.float32)
        return Images(probabilities, hidden.astype(np.float32), *measured, size=np.full(len(rows), 8.0))


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(0)


def _found(reference: Images, window: Images, seed: int = 0) -> set[tuple[str, str]]:
    return {test.key for test in find(compare(reference, window, seed), _SETTINGS) if test.found}


def test_of_200_windows_without_drift_at_most_a_twentieth_raise_an_alarm(digits):
    known = digits.images(np.arange(len(digits.labels)))
    alarms = 0
    for division in range(10):  # of the digits, in a reference and others
        rng = np.random.default_rng(division)
        order = rng.permutation(len(known))
        reference, before = known.take(order[:200]), set()
        for number in range(20):
            window = known.take(rng.choice(order[200:], 100, replace=False))
            found = _found(reference, window, number)
            alarms += bool(found & before)
            before = found
    assert alarms <= 10


def _blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.5))


def _darken(image: Image.Image) -> Image.Image:
    return image.point(lambda value: int(value * 0.9))


@pytest.mark.parametrize(
    ("change", "images", "by"),
    [
        (_blur, 100, ("sharpness", _KS)),
        (_darken, 200, ("brightness", _KS)),
        (_darken, 200, _DOMAIN),
    ],
)
def test_blurred_and_darker_images_are_found_in_two_windows_in_a_row(digits, change, images, by):
    reference = digits.images(np.arange(_REFERENCE))
    for begin in (_REFERENCE, _REFERENCE + images):
        window = digits.images(np.arange(begin, begin + images), change)
        assert by in _found(reference, window)


def test_another_mix_of_classes_is_found_where_three_of_ten_are_half_of_200_images(digits):
    rows = np.arange(_REFERENCE, len(digits.labels))
    of_three = digits.labels[rows] < 3
    for number in (0, 1):
        chosen = [rows[kind][number * 100 : number * 100 + 100] for kind in (of_three, ~of_three)]
        found = _found(digits.images(np.arange(_REFERENCE)), digits.images(np.concatenate(chosen)))
        assert ("predicted classes", _CHI_SQUARE) in found


def test_an_unseen_class_is_found_where_it_is_a_third_of_200_images():
    digits = Digits(1, unseen=9)
    old, new = np.flatnonzero(digits.labels != 9), np.flatnonzero(digits.labels == 9)
    reference = digits.images(old[:_REFERENCE])
    for number in (0, 1):
        begin = _REFERENCE + 134 * number
        rows = np.concatenate([new[66 * number : 66 * number + 66], old[begin : begin + 134]])
        assert ("confidence", _KS) in _found(reference, digits.images(rows))


def test_what_differs_by_rounding_alone_is_no_difference(digits):
    """As between torch and onnxruntime, of answers that the model is sure of."""
    known = digits.images(np.arange(_REFERENCE))
    sure = np.full_like(known.probabilities, 1e-9)
    sure[np.arange(len(sure)), known.probabilities.argmax(1)] = 1 - 1e-6
    other = np.where(sure > 0.5, np.float32(1), sure)
    found = compare(replace(known, probabilities=sure), replace(known, probabilities=other))
    assert {one.effect for one in found if one.test == _KS} == {0}


def test_an_effect_does_not_grow_with_the_number_of_images():
    rng = np.random.default_rng(0)

    def shares(likely: float, images: int) -> np.ndarray:
        return np.eye(3)[rng.choice(3, images, p=[likely, (1 - likely) / 2, (1 - likely) / 2])]

    effects = [
        classes(shares(1 / 3, known), shares(0.5, new)).effect for known in (2_000, 20_000) for new in (5_000, 20_000)
    ]
    assert np.ptp(effects) < 0.05
    assert effects[-1] == pytest.approx(0.17, abs=0.02)  # the root of half the sum of (p - q)² / (p + q)
    assert classes(shares(1 / 3, 2_000), shares(1 / 3, 2_000)).effect < 0.05


def test_classes_that_are_rare_count_as_one():
    rng = np.random.default_rng(0)
    pairs = [[np.eye(1_000)[rng.integers(0, 1_000, images)] for images in (500, 200)] for _ in range(50)]
    assert all(classes(*pair).p_value == 1 for pair in pairs)  # too few of any to say


@pytest.mark.parametrize("test", [mmd, domain_classifier])
def test_p_values_of_embeddings_without_drift_are_as_often_small_as_they_say(test):
    rng = np.random.default_rng(0)
    found = np.array([test(*rng.normal(size=(2, 60, 4)), rng).p_value for _ in range(60)])
    assert 0.2 < (found < 0.5).mean() < 0.8
    assert (found < 0.05).mean() <= 0.15


@pytest.mark.parametrize("test", [mmd, domain_classifier])
def test_embeddings_that_have_nothing_in_common_have_the_largest_effect(test):
    rng = np.random.default_rng(0)
    found = test(rng.normal(size=(100, 4)), rng.normal(30, 1, (100, 4)), rng)
    assert found.effect > (0.6 if test is mmd else 0.49)  # the kernel is as wide as the two are apart
    assert found.p_value < 0.002


def test_the_expected_accuracy_is_that_of_calibrated_answers():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 4_000)
    images = Images(np.column_stack([confidence, 1 - confidence]), None, *(np.zeros((4, 4_000))))
    right = (rng.random(4_000) < confidence).mean()
    estimate = expect(images)
    assert estimate.lower < right < estimate.upper
    assert estimate.upper - estimate.lower == pytest.approx(4 * 0.43 / 4_000**0.5, rel=0.1)
