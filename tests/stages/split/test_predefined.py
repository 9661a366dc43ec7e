"""Splits that the source says, and what is cut from them."""

import pytest

from lightline.data.splits import NAMES
from lightline.errors import DataError
from stages.split.strategies import DuplicatesError, assign
from tests.support.columns import EXCLUDED, TEST, TRAIN, VAL, columns, counts, strategy


def test_what_the_source_says_is_kept():
    table = columns([0, 1] * 30, splits=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    assert assign(table, strategy("predefined", val=0.5), 0).tolist() == [TRAIN] * 40 + [VAL] * 10 + [TEST] * 10


def test_val_is_cut_from_train_where_the_source_has_none():
    table = columns([0, 1] * 60, splits=["train"] * 100 + ["test"] * 20)
    splits = assign(table, strategy("predefined", val=0.1), 0)
    assert counts(table, splits) == [[45, 5, 10, 0]] * 2
    assert set(splits[100:]) == {TEST}


def test_test_is_cut_from_train_where_the_source_has_none_and_that_is_asked_for():
    table = columns([0, 1] * 60, splits=["train"] * 100 + ["val"] * 20)
    splits = assign(table, strategy("predefined", val=0.5, test=0.1, without_test="train"), 0)
    assert counts(table, splits) == [[45, 10, 5, 0]] * 2
    assert set(splits[100:]) == {VAL}
    table = columns([0, 1] * 50, splits=["train"] * 100)
    splits = assign(table, strategy("predefined", val=0.2, test=0.1, without_test="train"), 0)
    assert counts(table, splits) == [[35, 10, 5, 0]] * 2


def test_the_sources_val_is_test_where_it_has_none_and_that_is_asked_for():
    table = columns([0, 1] * 60, splits=["train"] * 100 + ["val"] * 20)
    splits = assign(table, strategy("predefined", val=0.1, without_test="val"), 0)
    assert counts(table, splits) == [[45, 5, 10, 0]] * 2
    assert set(splits[100:]) == {TEST}
    with pytest.raises(DataError, match=r"no image in test. Set split.without_test=train"):
        assign(columns([0, 1] * 3, splits=["train"] * 6), strategy("predefined", val=0.1, without_test="val"), 0)


@pytest.mark.parametrize("without_test", ["error", "train", "val"])
def test_a_source_with_a_test_keeps_it(without_test):
    table = columns([0, 1] * 30, splits=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    splits = assign(table, strategy("predefined", val=0.5, without_test=without_test), 0)
    assert splits.tolist() == [TRAIN] * 40 + [VAL] * 10 + [TEST] * 10


def test_copies_across_the_sources_splits_are_left_out_of_the_weaker_one():
    source = ["train", "val", "test", "train", "val", "train", "test", "train", "train"]
    table = columns([0] * 9, digests=["a", "a", "a", "b", "b", "c", "d", "e", "e"], splits=source)
    splits = assign(table, strategy("predefined", val=0.1), 0)
    assert [NAMES[split] for split in splits] == [
        *("excluded", "excluded", "test", "excluded", "val", "train", "test", "train", "train")
    ]


def test_copies_across_the_sources_splits_are_refused_in_pairs():
    source = ["train", "val", "test", "train", "val", "train", "test", "train", "train"]
    table = columns([0] * 9, digests=["a", "a", "a", "b", "b", "c", "d", "e", "e"], splits=source)
    with pytest.raises(DuplicatesError) as caught:
        assign(table, strategy("predefined", val=0.1, duplicates="error"), 0)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("split.duplicates = 'error', and the source has 3 images in one split that are pixel")
    assert lines[1:4] == [
        "  image-000002 = image-000000",
        "  image-000002 = image-000001",
        "  image-000004 = image-000003",
    ]
    assert "set split.duplicates=exclude" in lines[4]
    assert [NAMES[split] for split in caught.value.splits] == source


def test_of_many_copies_the_message_shows_ten_and_says_where_the_others_are():
    table = columns([0] * 60, digests=[row % 30 for row in range(60)], splits=["train"] * 30 + ["test"] * 30)
    with pytest.raises(
        DuplicatesError, match=r"has 30 images(.|\n)*image-000039 = image-000009\n  … and 20 more, all in"
    ):
        assign(table, strategy("predefined", val=0.1, duplicates="error"), 0)


def test_copies_inside_one_of_the_sources_splits_are_no_error():
    table = columns([0] * 40, digests=[row // 4 for row in range(40)], splits=["train"] * 20 + ["test"] * 20)
    assert EXCLUDED not in assign(table, strategy("predefined", val=0.3, duplicates="error"), 0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([None] * 6, "the source says of no image"),
        (["train", "train", None, "test", "test", None], "puts 2 of 6 images in none of train, val and test: image-0"),
        (
            ["train"] * 6,
            r"no image in test. Set split.without_test=train to cut split.test = 0.2 from train; or choose",
        ),
        (["train", "val"] * 3, r"split.without_test=train .*, or split.without_test=val to take its val as test and"),
        (["test", "val"] * 3, "no image in train"),
        (["test", "train", "test", "train", "test", "val"], "no training image is left of 1 of 2 classes: class-0"),
    ],
)
def test_a_source_that_says_too_little_is_refused(source: list, message: str):
    with pytest.raises(DataError, match=message):
        assign(columns([0, 1] * 3, splits=source), strategy("predefined", val=0.1), 0)


def test_training_images_that_are_all_copies_of_test_images_are_refused():
    table = columns([0, 1] * 3, digests=[0, 1] * 3, splits=["train"] * 4 + ["test"] * 2)
    with pytest.raises(DataError, match="class-0: 0 images"):
        assign(table, strategy("predefined", val=0.1), 0)
