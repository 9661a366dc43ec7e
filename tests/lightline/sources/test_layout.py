"""What the folders of a source say: classes, splits, and what is wrong with them."""

import pytest

from lightline.errors import DataError
from lightline.sources.layout import Place, find_layout


def place(folders, path, unwrap=False, split_folders="auto"):
    return find_layout(folders, "data/raw", unwrap, split_folders).place(path)


def test_the_first_folder_is_the_class():
    assert place({"cat", "dog"}, "cat/1.jpg") == Place("cat/1.jpg", "cat", None)


def test_deeper_folders_belong_to_the_id():
    assert place({"cat/black", "dog"}, "cat/black/1.jpg") == Place("cat/black/1.jpg", "cat", None, "black/")


@pytest.mark.parametrize(
    ("tops", "splits"),
    [
        ("train val test", "train val test"),
        ("TRAIN Valid Test", "train val test"),
        ("Training Testing", "train test"),
        ("Training Test", "train test"),
        ("Train Validation", "train val"),
        ("training_set test_set", "train test"),
        ("seg_train seg_test", "train test"),
        ("asl_alphabet_train asl_alphabet_test", "train test"),
        ("train_images test-images", "train test"),
        ("trainset valset testdata", "train val test"),
        ("train dev eval", "train val test"),
        ("training validation evaluation", "train val test"),
        ("train test eval", "train test val"),
        ("trn tst", "train test"),
        ("train test1", "train test"),
        ("1_train 2_val", "train val"),
    ],
)
def test_split_folders_lie_above_the_classes(tops, splits):
    folders = {f"{top}/{name}" for top in tops.split() for name in ("cat", "dog")}
    found = [place(folders, f"{top}/cat/1.jpg") for top in tops.split()]
    assert found == [
        Place(f"{top}/cat/1.jpg", "cat", split) for top, split in zip(tops.split(), splits.split(), strict=True)
    ]


@pytest.mark.parametrize(
    "tops", ["steam_train steam_engine", "freight_train passenger_train bus", "trainers testers", "test1 test2"]
)
def test_classes_with_such_words_in_their_names_are_classes(tops):
    assert place(set(tops.split()), f"{tops.split()[0]}/1.jpg") == Place(
        f"{tops.split()[0]}/1.jpg", tops.split()[0], None
    )


def test_a_class_called_like_a_split_is_one_where_the_source_is_said_to_have_no_splits():
    with pytest.raises(DataError, match=r"holds train/ beside bus/, car/\..* then set data.split_folders=none"):
        place({"bus", "car", "train"}, "train/1.jpg")
    assert place({"bus", "train"}, "train/1.jpg", split_folders="none") == Place("train/1.jpg", "train", None)
    assert place({"train", "test"}, "train/1.jpg", split_folders="none") == Place("train/1.jpg", "train", None)


def test_a_second_folder_of_each_splits_name_is_no_class():
    folders = {f"{top}/{top}/{name}" for top in ("training_set", "test_set") for name in ("cats", "dogs")}
    found = place(folders, "test_set/test_set/cats/1.jpg")
    assert found == Place("test_set/test_set/cats/1.jpg", "cats", "test")


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        ({"cat", "dog"}, None),
        ({"cat/images", "dog/images"}, None),
        ({"train/cat/images", "test/cat/images", "train/dog"}, None),
        ({"animals/cat", "animals/dog", "plants/oak"}, "animals/ (cat/, dog/)."),
        ({"a", "a/old", "b"}, "a/ (old/)."),
        ({"2019/a/x", "2019/b", "2020/a", "2020/b"}, "2019/ (a/x/, b/), 2020/ (a/, b/)."),
    ],
)
def test_folders_that_are_merged_into_a_class_are_told(folders, told):
    found = find_layout(folders, "data/raw", False, "auto").merged(folders)
    assert [remark.text.split("class: ")[1].split(" Where")[0] for remark in found] == ([told] if told else [])


@pytest.mark.parametrize(("folders", "path"), [({"a", "b", ""}, "README.md"), ({"train/a", "train/b"}, "train/x.jpg")])
def test_files_in_no_class_folder_have_no_place(folders, path):
    assert place(folders, path) is None


@pytest.mark.parametrize("wrapper", ["set", "set/images"])
def test_a_folder_around_everything_is_dropped_from_an_archive(wrapper):
    folders = {f"{wrapper}/train/cat", f"{wrapper}/train/dog"}
    found = place(folders, f"{wrapper}/train/cat/1.jpg", unwrap=True)
    assert found == Place("train/cat/1.jpg", "cat", "train")


def test_files_beside_the_dropped_folder_have_no_place():
    assert place({"", "set/cat", "set/dog"}, "README.md", unwrap=True) is None


def test_files_inside_the_dropped_folder_have_no_place():
    assert place({"set", "set/cat", "set/dog"}, "set/README.md", unwrap=True) is None


@pytest.mark.parametrize(
    ("folders", "unwrap", "message"),
    [
        (set(), False, "data/raw has no class folders"),
        ({""}, True, "data/raw has no class folders"),
        ({"cat"}, True, "only one class, cat/"),
        ({"set/cat", "set/dog"}, False, "only one class, set/.*data.path should lead to it"),
        ({"train/cat", "test/cat"}, False, "only one class, cat/"),
        ({"train", "test"}, False, "no class folders below test/, train/.*set data.split_folders=none"),
        ({"train/cat", "train/dog", "extra"}, False, "holds train/ beside extra/"),
        ({"train/cat", "train/dog", *"abcdefg"}, False, r"beside a/, b/, c/, d/, e/ and 2 more"),
    ],
)
def test_what_is_no_set_of_class_folders_is_told(folders, unwrap, message):
    with pytest.raises(DataError, match=message):
        find_layout(folders, "data/raw", unwrap, "auto")
