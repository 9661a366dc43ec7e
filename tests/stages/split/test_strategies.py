import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightline.data.dataset import codes
from lightline.errors import DataError
from stages.split.allocation import TooFewSetsError, allocate, sets_of
from stages.split.strategies import assign
from tests.support.columns import EXCLUDED, STRATIFIED, TEST, TRAIN, VAL, columns, counts, divided, strategy

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
