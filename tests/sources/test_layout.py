"""What the folders of a source say: classes, splits, and what is wrong with them."""

import pytest

from lightline.errors import DataError
from lightline.sources.layout import Place, find_layout


def place(folders, path, unwrap=False):
    return find_layout(folders, "data/raw", unwrap).place(path)


def test_the_first_folder_is_the_class():
    assert place({"cat", "dog"}, "cat/1.jpg") == Place("cat/1.jpg", "cat", None)


def test_deeper_folders_belong_to_the_id():
    assert place({"cat/black", "dog"}, "cat/black/1.jpg") == Place("cat/black/1.jpg", "cat", None)


@pytest.mark.parametrize(
    ("folder", "split"),
    [("train", "train"), ("val", "val"), ("valid", "val"), ("validation", "val"), ("test", "test"), ("Test", "test")],
)
def test_split_folders_lie_above_the_classes(folder, split):
    found = place({"train/cat", "train/dog", f"{folder}/cat"}, f"{folder}/cat/1.jpg")
    assert found == Place(f"{folder}/cat/1.jpg", "cat", split)


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
        ({"train", "test"}, False, "no class folders below test/, train/"),
        ({"train/cat", "train/dog", "extra"}, False, "holds train/ beside extra/"),
        ({"train/cat", "train/dog", *"abcdefg"}, False, r"beside a/, b/, c/, d/, e/ and 2 more"),
    ],
)
def test_what_is_no_set_of_class_folders_is_told(folders, unwrap, message):
    with pytest.raises(DataError, match=message):
        find_layout(folders, "data/raw", unwrap)
