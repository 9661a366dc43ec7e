"""How far two tables of logits are from each other, and what the gate makes of it."""

import numpy as np
import pytest

from stages.export.parity import TORCH, Differences, ParityError, typical_spread


def compare(expected: list, actual: list, typical: float = 0.0, rtol: float = 1e-3, atol: float = 1e-8) -> Differences:
    expected, actual = np.array(expected, np.float32), np.array(actual, np.float32)
    ids = np.array([f"image {number}" for number in range(len(expected))], object)
    classes = [f"class {number}" for number in range(expected.shape[1])]
    differences = Differences(TORCH, "export.rtol", rtol, atol, typical, classes)
    differences.add(expected, actual, ids, "here")
    return differences


def test_a_small_logit_beside_large_ones_may_differ_as_they_do():
    """As of EfficientNet-Lite0 on photos of ants and bees: logits -12 to 23, and 4e-4 between torch and onnxruntime."""
    differences = compare([[-12.0, 23.0], [11.0, 0.01]], [[-12.0004, 23.0], [11.0, 0.0104]])
    assert (differences.compared, differences.ties) == (2, [])
    assert differences.largest == pytest.approx(4e-4, rel=0.01)
    assert differences.used == pytest.approx(4e-4 / 11e-3, rel=0.01)


def test_an_image_between_two_classes_is_measured_by_the_spread_of_the_others():
    image, answer = [[0.30, 0.29]], [[0.304, 0.29]]
    compare(image, answer, typical=10.0)
    with pytest.raises(ParityError, match=r"difference 0\.004, allowed 1e-05"):
        compare(image, answer)


@pytest.mark.parametrize("num_classes", [2, 10, 1000])
@pytest.mark.parametrize("scale", [0.01, 1, 100])
def test_what_rounding_to_tf32_does_passes_with_the_tolerance_for_test_and_a_stranger_does_not(num_classes, scale):
    """A last layer with operands of 10 bits, as GPUs may have them; 2,000 images, some of them between two classes."""
    rng = np.random.default_rng(num_classes)
    features = rng.normal(size=(2000, 64)).astype(np.float32)
    weights = scale * rng.normal(size=(64, num_classes)).astype(np.float32)
    exact = features @ weights
    typical = typical_spread(exact)
    found = compare(exact, rounded(features) @ rounded(weights), typical, rtol=0.05)
    assert found.used < 0.2
    with pytest.raises(ParityError):
        compare(exact, rounded(features) @ rounded(weights), typical, rtol=1e-5)
    with pytest.raises(ParityError):
        compare(exact, np.roll(exact, 1, axis=0), typical, rtol=0.05)


def rounded(numbers: np.ndarray) -> np.ndarray:
    """float32 with the 10 bits of TF32."""
    return ((numbers.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)


def test_another_class_between_equals_is_a_tie_and_listed():
    differences = compare([[100.0, 1.0], [2.0, 1.9996], [2.0, 2.0]], [[100.05, 1.0], [1.9998, 1.9999], [2.0, 2.0]], 1.0)
    assert [(tie.id, tie.expected, tie.answered) for tie in differences.ties] == [("image 1", "class 0", "class 1")]
    (tie,) = differences.ties
    assert (tie.where, tie.source, tie.lead) == ("here", "torch", pytest.approx(4e-4, rel=1e-3))
    assert tie.allowed == pytest.approx(1e-3, rel=0.01)


def test_another_class_is_refused_where_the_two_best_are_further_from_each_other_than_the_tolerance():
    """Though neither logit differs by more than that."""
    with pytest.raises(
        ParityError, match=r"here: class 'class 1' instead of 'class 0', whose logit is the larger by 0\.0015"
    ):
        compare([[2.0, 1.9985]], [[1.9992, 1.9993]], 1.0)


@pytest.mark.parametrize(
    ("actual", "said"),
    [
        (
            [[100.2, 1.0]],
            "logit 100.2 instead of 100 for image 'image 0' and class 'class 0', difference 0.2, allowed 0.099 ",
        ),
        ([[100.0, 1.11]], "logit 1.11 instead of 1 for image 'image 0' and class 'class 1', difference 0.11, allowed "),
        ([[100.0, np.nan]], "logit nan instead of 1 "),
        ([[np.inf, 1.0]], "logit inf instead of 100 "),
        ([[np.nan, np.nan]], "logit nan instead of 100 "),
    ],
)
def test_the_worst_difference_is_named(actual, said):
    with pytest.raises(ParityError) as caught:
        compare([[100.0, 1.0]], actual)
    assert f"disagree on here: {said}" in str(caught.value)
    assert "(export.rtol = 0.001 of the spread of an image's logits)" in str(caught.value)


@pytest.mark.parametrize("expected", [[[np.nan, 1.0]], [[1.0, np.inf]]])
def test_a_network_that_answers_no_numbers_is_stopped_though_torch_agrees(expected):
    with pytest.raises(ParityError, match=r"logit (nan|inf) instead of (nan|inf)"):
        compare(expected, expected)
