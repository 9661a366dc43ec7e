"""Slices of the test split: what is measured of them, and which are told to be worse than the rest."""

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from lightline.data.attributes import write_attributes
from lightline.errors import ParameterError
from stages.test.metrics import expected_calibration_error
from stages.test.slices import columns_of, find_slices, holm, quartiles, wilson, worse
from tests.support.samples import save_dataset

SETTINGS = {"smallest": 20, "confidence": 0.95, "num_bins": 10}


def made_up(images: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Nine in ten are right, whatever the part."""
    rng = np.random.default_rng(seed)
    return (
        rng.random(images) < 0.9,
        rng.uniform(0.5, 1, images),
        [f"part {number}" for number in rng.integers(8, size=images)],
    )


def test_a_part_that_is_worse_is_found_and_no_other():
    correct, certainty, parts = made_up(2_000, 0)
    bad = np.array([part == "part 3" for part in parts])
    correct[bad] = np.random.default_rng(1).random(bad.sum()) < 0.6
    found = find_slices({"camera": parts}, correct, certainty, **SETTINGS)
    assert [(one.by, one.value) for one in worse(found, 0.95)] == [("camera", "part 3")]
    first = found[0]
    assert (first.images, first.accuracy) == (bad.sum(), correct[bad].mean())
    assert first.lower < first.accuracy < first.upper


def test_where_no_part_is_worse_one_is_told_to_be_in_few_draws():
    false = sum(
        bool(worse(find_slices({"camera": parts}, correct, certainty, **SETTINGS), 0.95))
        for correct, certainty, parts in (made_up(600, seed) for seed in range(200))
    )
    assert false <= 20


def test_small_parts_are_listed_and_not_judged():
    correct = np.array([True] * 80 + [False] * 20)
    parts = ["large"] * 81 + ["small"] * 19
    found = {one.value: one for one in find_slices({"group": parts}, correct, np.full(100, 0.9), **SETTINGS)}
    assert found["small"].p_value is None
    assert (found["small"].images, found["small"].accuracy) == (19, 0.0)
    assert found["large"].p_value == pytest.approx(1)
    nothing = find_slices({"group": [None] * 100}, correct, np.full(100, 0.9), **SETTINGS)
    assert nothing == []


def test_quarters_are_named_with_their_bounds():
    found = quartiles(np.arange(8.0))
    assert found[0] == found[1] == "lowest (0 to 1.75)"
    assert found[7] == "highest (5.25 to 7)"
    assert len(set(found)) == 4
    assert quartiles(np.ones(3)) == [None] * 3


def test_the_numbers_are_scipy_s_and_torchmetrics_s():
    for right, images in ((0, 5), (7, 9), (100, 100)):
        expected = binomtest(right, images).proportion_ci(0.9, "wilson")
        assert wilson(right, images, 0.9) == pytest.approx((expected.low, expected.high))
    correct, certainty, parts = made_up(300, 3)
    found = {one.value: one for one in find_slices({"camera": parts}, correct, certainty, **SETTINGS)}
    plain = []
    for value in sorted(found):
        is_in = np.array([part == value for part in parts])
        table = [[(~correct[is_in]).sum(), correct[is_in].sum()], [(~correct[~is_in]).sum(), correct[~is_in].sum()]]
        plain.append(fisher_exact(table, "greater").pvalue)
    assert [found[value].p_value for value in sorted(found)] == pytest.approx(holm(plain))
    logits = np.log(np.stack([certainty, 1 - certainty], 1))
    expected = expected_calibration_error(logits, np.where(correct, 0, 1), 10)
    (whole,) = find_slices({"all": ["one"] * 300}, correct, certainty, **SETTINGS)
    assert whole.ece == pytest.approx(expected, abs=1e-6)


def test_what_images_have_in_common_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = save_dataset(tmp_path / "dataset", [np.full((4, 4 + number, 3), number, np.uint8) for number in range(4)])
    write_attributes(["0002", "0000"], {"camera": ["b", "a"], "many": ["x", "y"]})
    found = columns_of(["camera", "aspect", "group", "folder"], dataset, np.array([0, 2, 3]))
    assert list(found) == ["camera", "aspect", "group", "folder"]
    assert found["camera"] == ["a", "b", None]
    assert found["group"] == found["folder"] == [None] * 3
    assert [text.split(" ")[0] for text in found["aspect"] if text] == ["lowest", "low", "highest"]
    with pytest.raises(ParameterError, match=r"names 'lens', .* there are group, folder, .*, camera, many\."):
        columns_of(["lens"], dataset, np.array([0]))


def test_holm_s_correction():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
