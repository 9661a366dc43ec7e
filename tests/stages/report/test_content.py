"""What the page is made of: samples, maps, neighbours, where the network looked, charts."""

from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from stages.report.charts import Line, line_chart
from stages.report.embedding import least_alike, nearest, principal_map
from stages.report.heat_maps import heat_maps
from stages.report.pictures import sample, side
from stages.report.texts import _short
from tests.support.samples import make_checkpoint, model_settings, save_dataset


def test_of_many_images_the_wrong_ones_are_shown_and_of_the_others_as_many_of_every_class():
    labels = np.repeat([0, 1], [90, 10])
    correct = np.arange(100) % 20 > 0
    chosen = sample(correct, labels, 25)
    assert len(chosen) == 25
    assert set(np.flatnonzero(~correct)) <= set(chosen.tolist())
    right = labels[chosen][correct[chosen]]
    assert (
        abs(int((right == 0).sum()) - int((right == 1).sum())) <= 1 or (right == 1).sum() == correct[labels == 1].sum()
    )
    assert sample(correct, labels, 100).tolist() == list(range(100))
    assert sample(~correct, labels, 25).tolist() == sorted(sample(~correct, labels, 25).tolist())
    assert [side(number) for number in (1, 500, 501, 10_000)] == [192, 192, 96, 48]


def test_the_map_has_the_largest_spread_first_and_any_orientation_is_the_same():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(200, 8)) * [9, 3, *[0.1] * 6]
    places = principal_map(embeddings)
    assert abs(np.corrcoef(places[:, 0], embeddings[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(places[:, 1], embeddings[:, 1])[0, 1]) > 0.99
    np.testing.assert_array_equal(principal_map(embeddings.copy()), places)
    assert principal_map(np.zeros((5, 0))).shape == (0, 2)
    assert len(principal_map(np.ones((5, 3)))) == 5  # all alike


def test_neighbours_are_those_of_the_largest_cosine():
    others = np.array([[1.0, 0], [0, 1], [1, 1], [-1, 0]])
    assert nearest(np.array([[2.0, 0.1], [0.1, 5]]), others, 2).tolist() == [[0, 2], [1, 2]]
    assert nearest(np.zeros((3, 0)), others).shape == (3, 0)


def test_what_is_unlike_its_class_comes_first_however_alike_it_is_to_another():
    rng = np.random.default_rng(0)
    embeddings = np.eye(3)[np.repeat([0, 1], 20)] + rng.normal(0, 0.05, (40, 3))
    embeddings[7] = [0, 0, 1]  # like nothing
    embeddings[25] = [1, 0, 0]  # of the other class
    labels = np.repeat([0, 1, 2], [20, 19, 1])  # the last one is alone, and so like itself
    assert sorted(least_alike(embeddings, labels, 2).tolist()) == [7, 25]
    assert len(least_alike(embeddings, labels, 100)) == 40
    assert len(least_alike(np.zeros((5, 0)), labels[:5], 3)) == 0


@pytest.mark.parametrize("views", ["none", "mirror"])
def test_where_the_network_looked_is_where_the_colour_is(tmp_path: Path, views: str):
    """Of random weights: the map is made of what changes the answer, and one colour everywhere leaves it flat."""
    checkpoint = make_checkpoint(model_settings("resnet18", input_size=64, test_time_augmentation=views))
    pictures = [np.full((90, 70, 3), 128, np.uint8) for _ in range(2)]
    pictures[0][10:30, 10:30] = (255, 0, 0)
    maps = heat_maps(checkpoint, save_dataset(tmp_path / "dataset", pictures), np.arange(2))
    assert maps is not None
    assert [one.dtype for one in maps] == [np.uint8] * 2
    assert maps[0].shape[0] == maps[0].shape[1] > 1
    assert maps[0].max() in (0, 255)


def test_a_network_of_attention_has_no_map(tmp_path: Path):
    checkpoint = make_checkpoint(model_settings("timm/test_vit", input_size=32))
    dataset = save_dataset(tmp_path / "dataset", [np.zeros((40, 40, 3), np.uint8)])
    assert heat_maps(checkpoint, dataset, np.arange(1)) is None


def test_a_chart_has_its_points_and_escapes_names():
    chart = line_chart([Line("<b>", "line-0", [(1, 2.0), (2, float("nan")), (3, 4.0)])], "x<", "y")
    assert isinstance(chart, Markup)
    assert "<b>" not in chart
    assert "&lt;b&gt;" in chart
    assert chart.count("<circle") == 2
    assert "<svg" in line_chart([Line("none", "line-0", [])], "x", "y")


def test_names_that_look_like_numbers_stay_as_they_are():
    row = {
        "class": "0.10",
        "by": "1.50",
        "value": "1.\xb2",
        "recall": "0.123456",
        "p_value": "1.25e-07",
        "images": "12",
    }
    numbers = {"recall": "0.1235", "p_value": "1.25e-07"}
    assert _short(row) == row | numbers
