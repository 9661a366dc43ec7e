"""A file of corrections: what it says of an image, and what is wrong with it."""

import pytest

from lightline.data.dataset import Row
from lightline.errors import DataError
from lightline.runtime.places import find_file
from lightline.sources.corrections import Corrections


def row(name: str, class_name: str = "ant") -> Row:
    return Row(name, b"", class_name, 1, 1, "digest")


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Corrections:
        (tmp_path / "c.csv").write_text(text, encoding="utf-8")
        return Corrections(tmp_path / "c.csv")

    return write


def test_labels_are_corrected_for_training_and_where_it_says_so_for_test(write):
    found = write('id,label,why,split\na,bee,"says, who",\nb,bee,,Test\nc,drop,,\nd,drop,,test\n')
    rows = [found.apply(row(name)) for name in "abcde"]
    assert [(one.class_name, one.test_class, one.dropped) for one in rows] == [
        ("bee", "ant", None),
        ("bee", None, None),
        ("ant", None, "train"),
        ("ant", None, "all"),
        ("ant", None, None),
    ]
    found.check("abcde", ["ant", "bee"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,why\na,x\n", "has no column 'label'"),
        ("id,label\na,\n", "row 1 has no label"),
        ("id,label\na,bee\na,ant\n", "row 2 says something else of 'a'"),
        ("id,label\nz,bee\n", "names what the source does not have: 'z'"),
        (
            "id,label\na,wasp\n",
            "has the label 'wasp', which is no class of the source; there are 'ant', 'bee', and",
        ),
    ],
)
def test_what_is_wrong_with_it_is_told(write, text, said):
    with pytest.raises(DataError, match=said):
        write(text).check("abc", ["ant", "bee"])


def test_the_same_said_twice_is_one(write):
    assert write("id,label\na,bee\na,bee\n").apply(row("a")).class_name == "bee"


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv' is no file"):
        find_file(str(tmp_path / "none.csv"), "data.corrections")


def test_a_class_whose_name_leaves_images_out_is_refused(write):
    found = write("id,label\na,drop\n")
    with pytest.raises(DataError, match="source has a class of that name: rename the class"):
        found.check("a", ["ant", "drop"])


def test_an_accent_may_be_typed_in_either_way(write):
    found = write("id,label\na,cafe\u0301\n")
    found.check("a", ["caf\xe9"])
    assert found.apply(row("a")).class_name == "caf\xe9"
