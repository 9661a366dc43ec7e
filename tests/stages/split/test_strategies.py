from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from lightline.config.data import Split
from lightline.data.dataset import Dataset, Row, codes, write_dataset
from lightline.data.splits import NAMES, read_splits, write_splits
from lightline.errors import DataError
from lightline_predict import images
from lightline_predict.images import pixel_digest
from stages.split.allocation import TooFewSetsError, allocate, sets_of
from stages.split.strategies import Columns, DuplicatesError, assign

TRAIN, VAL, TEST, EXCLUDED = range(4)


def columns(
    labels: Sequence[int],
    digests: Sequence[object] | None = None,
    groups: Sequence[str | None] | None = None,
    splits: Sequence[str | None] | None = None,
    num_classes: int | None = None,
) -> Columns:
    """Made-up columns; every image differs from the others where no digests are given."""
    rows = len(labels)
    classes = [f"class-{label}" for label in range(num_classes or max(labels) + 1)]
    return Columns(
        ids=np.array([f"image-{row:06d}" for row in range(rows)], object),
        labels=np.array(labels, np.int32),
        digests=np.array([str(digest) for digest in (range(rows) if digests is None else digests)], object),
        splits=np.array([None] * rows if splits is None else splits, object),
        groups=np.array([None] * rows if groups is None else groups, object),
        classes=classes,
    )


def strategy(name: str, **settings: float | str) -> Split:
    if name == "predefined":
        settings = {"test": 0.2, "without_test": "error", "duplicates": "exclude"} | settings
    return TypeAdapter(Split).validate_python({"strategy": name, **settings})


STRATIFIED = strategy("stratified", val=0.15, test=0.15)


def counts(table: Columns, splits: np.ndarray) -> list[list[int]]:
    """[classes][train, val, test, excluded]"""
    return [np.bincount(splits[table.labels == label], minlength=4).tolist() for label in range(len(table.classes))]


def divided(keys: np.ndarray, splits: np.ndarray) -> list:
    """The keys that stand in more than one split, those left out aside."""
    used = splits != EXCLUDED
    return [key for key in set(keys[used]) - {None} if len(set(splits[used & (keys == key)])) > 1]


# Stratified


def test_each_class_has_its_share_in_every_split():
    table = columns([0] * 100 + [1] * 1000 + [2] * 20)
    assert counts(table, assign(table, STRATIFIED, 0)) == [[70, 15, 15, 0], [700, 150, 150, 0], [14, 3, 3, 0]]


def test_totals_are_right_where_every_class_is_small():
    table = columns([label for label in range(100) for _ in range(11)])
    result = np.array(counts(table, assign(table, STRATIFIED, 0)))
    assert np.abs(result.sum(axis=0) - [770, 165, 165, 0]).max() <= 1
    assert result[:, :3].min() >= 1


def test_the_seed_alone_decides():
    table = columns([0, 1] * 100)
    first = assign(table, STRATIFIED, 1)
    assert np.array_equal(first, assign(table, STRATIFIED, 1))
    assert not np.array_equal(first, assign(table, STRATIFIED, 2))


def test_new_images_leave_nearly_all_others_where_they_were():
    table = columns([0, 1] * 500)
    fewer = np.flatnonzero(np.arange(1000) % 20 != 7)
    before = assign(table.select(fewer), STRATIFIED, 0)
    after = assign(table, STRATIFIED, 0)[fewer]
    assert (before != after).mean() < 0.05


@pytest.mark.parametrize("added", [1, 7, 60])
def test_no_more_images_change_sides_than_are_added(added: int):
    moved = []
    for seed in range(40):
        table = columns(np.random.default_rng(seed).integers(0, 5, 460).tolist())
        old = np.sort(np.random.default_rng(seed).permutation(460)[added:])
        moved.append(int((assign(table, STRATIFIED, seed)[old] != assign(table.select(old), STRATIFIED, seed)).sum()))
    # One image moves two where it falls into val and test is to grow, or turned round.
    assert max(moved) <= max(added, 2)
    assert np.mean(moved) <= 0.7 * added


def test_the_smallest_possible_class_is_in_every_split():
    table = columns([0] * 3 + [1] * 40)
    assert counts(table, assign(table, STRATIFIED, 0))[0] == [1, 1, 1, 0]


@pytest.mark.parametrize("name", ["stratified", "group", "k_fold", "predefined"])
def test_a_class_of_one_image_is_named_whatever_the_strategy(name: str):
    table = columns([0] * 60 + [1], groups=[f"g{row}" for row in range(61)], splits=["train", "test"] * 30 + ["test"])
    shares = {"k_fold": {"num_folds": 3, "fold": 0, "val": 0.2}, "predefined": {"val": 0.2}}
    with pytest.raises(DataError, match=r"class-1: (1 images in 1|0 images in 0) independent sets"):
        assign(table, strategy(name, **shares.get(name, {"val": 0.2, "test": 0.2})), 0)


def test_classes_too_small_are_named_with_their_sizes():
    table = columns([0] * 50 + [1] * 2 + [2] * 4, digests=[*range(50), "a", "b", "c", "c", "c", "d"], num_classes=4)
    with pytest.raises(DataError) as error:
        assign(table, STRATIFIED, 0)
    message = str(error.value)
    assert "3 of 4 classes are too small to be in each of train, val, test" in message
    assert "class-1: 2 images in 2 independent sets" in message
    assert "class-2: 4 images in 2 independent sets" in message
    assert "class-3: 0 images in 0 independent sets" in message
    assert "class-0" not in message


def test_classes_whose_only_images_are_each_others_copies_are_named():
    table = columns([0] * 3 + [1] * 3 + [2] * 3 + [3] * 3, digests=[0, 1, 2, 0, 1, 3, 0, 2, 3, 1, 2, 3])
    with pytest.raises(DataError, match="too small to be in each of train, val, test"):
        assign(table, strategy("stratified", val=0.3, test=0.3), 0)


# Duplicates and groups


def test_a_class_of_copies_still_reaches_every_split():
    table = columns([0] * 15, digests=[row // 5 for row in range(15)])
    assert sorted(counts(table, assign(table, STRATIFIED, 0))[0]) == [0, 5, 5, 5]


def test_one_large_group_goes_to_training():
    table = columns([0] * 100, groups=["large"] * 90 + [str(row) for row in range(10)])
    splits = assign(table, strategy("group", val=0.1, test=0.1), 0)
    assert set(splits[:90]) == {TRAIN}
    assert counts(table, splits) == [[90, 5, 5, 0]]


def test_groups_are_divided_in_proportion():
    generator = np.random.default_rng(0)
    owner = generator.integers(0, 200, 4000)
    table = columns(generator.integers(0, 5, 4000).tolist(), groups=[f"patient-{number}" for number in owner])
    splits = assign(table, strategy("group", val=0.15, test=0.15), 0)
    assert divided(table.groups, splits) == []
    shares = np.array(counts(table, splits)) / np.bincount(table.labels)[:, None]
    assert np.abs(shares - [0.7, 0.15, 0.15, 0]).max() < 0.03


def test_group_strategy_needs_groups():
    with pytest.raises(DataError, match="the source names no groups"):
        assign(columns([0] * 10), strategy("group", val=0.2, test=0.2), 0)


def test_groups_that_share_a_copy_are_one_set():
    sets = sets_of(np.array(["a", "b", "b", "c", "d"]), np.array(["x", "x", "y", "y", None], object))
    assert sets.tolist() == [0, 0, 0, 0, 1]
    assert codes(np.array(["b", None, "a", "b"], object)).tolist() == [0, -1, 1, 0]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_whatever_the_data_nothing_leaks_and_every_class_is_everywhere(data: st.DataObject):
    rows = data.draw(st.integers(1, 120))
    numbers = st.integers(0, data.draw(st.integers(1, 200)))
    labels = data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    digests = data.draw(st.lists(numbers, min_size=rows, max_size=rows))
    owners = st.none() | numbers.map(str)
    groups = data.draw(st.lists(owners, min_size=rows, max_size=rows))
    sides = data.draw(st.lists(st.sampled_from(["train", "test"]), min_size=rows, max_size=rows))
    table = columns(labels, digests, ["g", *groups[1:]], sides)
    split = data.draw(
        st.sampled_from(
            [
                strategy("stratified", val=0.2, test=0.3),
                strategy("group", val=0.1, test=0.3),
                strategy("k_fold", num_folds=3, fold=1, val=0.2),
                strategy("predefined", val=0.3),
            ]
        )
    )
    try:
        splits = assign(table, split, 0)
    except DataError:
        return  # a class is too small; the tests above say when
    assert splits.min() >= TRAIN
    assert divided(table.digests, splits) == []
    if split.strategy in ("group", "k_fold"):
        assert divided(table.groups, splits) == []
    if split.strategy != "predefined":
        assert EXCLUDED not in splits
        wanted = [TRAIN, TEST] if split.strategy == "group" else [TRAIN, VAL, TEST]
        assert all(row[part] > 0 for row in counts(table, splits) for part in wanted)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_single_rows_fill_each_class_to_within_one(sizes: list[int]):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.arange(len(labels))
    keys = np.random.default_rng(0).permutation(len(labels)).astype(np.uint64)
    if min(sizes) < 3:
        with pytest.raises(TooFewSetsError):
            allocate(labels, rows, keys, [0.2, 0.3, 0.5], len(sizes))
        return
    parts = allocate(labels, rows, keys, [0.2, 0.3, 0.5], len(sizes))
    for label, size in enumerate(sizes):
        of_class = np.bincount(parts[labels == label], minlength=3)
        assert of_class.min() >= 1
        assert np.abs(of_class - np.array([0.2, 0.3, 0.5]) * size).max() < 2


# Folds


def test_every_image_is_tested_in_exactly_one_fold():
    table = columns([0, 1, 2] * 37, digests=[row // 2 for row in range(111)])
    folds = [assign(table, strategy("k_fold", num_folds=5, fold=fold, val=0.1), 3) for fold in range(5)]
    assert (np.array(folds) == TEST).sum(axis=0).tolist() == [1] * 111
    assert all(set(splits) == {TRAIN, VAL, TEST} for splits in folds)


def test_val_images_differ_between_folds():
    table = columns([0, 1] * 100)
    folds = [assign(table, strategy("k_fold", num_folds=4, fold=fold, val=0.1), 3) for fold in (1, 2)]
    assert not np.array_equal(folds[0] == VAL, folds[1] == VAL)


def test_folds_need_a_set_for_each():
    with pytest.raises(DataError, match="class-0: 4 images in 4 independent sets"):
        assign(columns([0] * 4 + [1] * 50), strategy("k_fold", num_folds=5, fold=0, val=0.1), 0)
    with pytest.raises(DataError, match="each of the 5 folds"):
        assign(columns([0] * 4), strategy("k_fold", num_folds=5, fold=0, val=0.1), 0)


# Predefined


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


# The file


def small_dataset(folder: Path, labels: Sequence[int]) -> Dataset:
    rows = []
    for number, label in enumerate(labels):
        pixels = np.full((2, 2, 3), number, np.uint8)
        rows.append(Row(f"{number:03d}", images.encode(pixels), f"class-{label}", 2, 2, pixel_digest(pixels)))
    write_dataset(rows, None, folder)
    return Dataset(folder)


def test_the_file_gives_back_what_was_written(tmp_path: Path):
    dataset = small_dataset(tmp_path / "dataset", [0, 1] * 10)
    table = Columns.of(dataset)
    written = assign(table, STRATIFIED, 0)
    write_splits(table.ids, table.labels, written, tmp_path / "splits.parquet")
    splits = read_splits(tmp_path / "splits.parquet")
    splits.check_dataset(dataset)
    for number, name in enumerate(NAMES):
        assert splits.rows(name).tolist() == np.flatnonzero(written == number).tolist()
    with pytest.raises(ValueError, match="'valid' is no split"):
        splits.rows("valid")


def test_equal_splits_are_equal_files_and_different_ones_have_another_digest(tmp_path: Path):
    table = columns([0, 1] * 10)
    files = []
    for number, seed in enumerate((0, 0, 1)):
        files.append(tmp_path / f"{number}.parquet")
        write_splits(table.ids, table.labels, assign(table, STRATIFIED, seed), files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()
    assert read_splits(files[0]).digest == read_splits(files[1]).digest != read_splits(files[2]).digest


def test_a_split_of_another_dataset_is_refused(tmp_path: Path):
    table = Columns.of(small_dataset(tmp_path / "first", [0, 1] * 10))
    write_splits(table.ids, table.labels, assign(table, STRATIFIED, 0), tmp_path / "splits.parquet")
    splits = read_splits(tmp_path / "splits.parquet")
    for name, labels in (("longer", [0, 1] * 11), ("relabelled", [1, 0] * 10)):
        with pytest.raises(DataError, match="not made for this dataset"):
            splits.check_dataset(small_dataset(tmp_path / name, labels))


def test_a_missing_or_damaged_file_says_what_to_do(tmp_path: Path):
    with pytest.raises(DataError, match="dvc repro split"):
        read_splits(tmp_path / "splits.parquet")
    (tmp_path / "splits.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="damaged"):
        read_splits(tmp_path / "splits.parquet")
