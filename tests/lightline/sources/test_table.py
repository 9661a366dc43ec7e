"""Tables of images: columns, labels of any type, what is refused, how changes are noticed."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightline.errors import DataError
from lightline.sources.base import DescribesImages, Refused, SourceImage
from lightline.sources.table import Table
from tests.support.tables import IMAGES, listed, source, write_table


def refused(table: Table) -> dict[str, str]:
    return {image.id: image.reason for image in table.images() if isinstance(image, Refused)}


@pytest.fixture
def folder(write) -> Path:
    return write(Path("set"), IMAGES)


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_all_columns_are_read(folder, png, name):
    frame = {"p": IMAGES, "l": ["cat", "dog", "cat"], "s": ["train", "Valid", "test"], "g": [7, 7, 8]}
    write_table(folder / name, frame)
    table = source(folder / name, path_column="p", label_column="l", split_column="s", group_column="g")
    assert listed(table) == [
        ("images/1.png", "cat", "train", "7"),
        ("images/2.png", "dog", "val", "7"),
        ("images/3.png", "cat", "test", "8"),
    ]
    images = [image for image in table.images() if isinstance(image, SourceImage)]
    assert images[1].read() == png(1)
    assert images[1].num_bytes == len(png(1))


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_its_other_columns_say_more_of_the_images(folder, name):
    frame = {
        "l": ["cat", "dog", "cat"],
        "camera": [1, 2, None],
        "p": [*IMAGES[:2], None],
        "place, told": ["x", "", "z"],
    }
    write_table(folder / name, frame)
    table = source(folder / name, path_column="p", label_column="l")
    assert isinstance(table, DescribesImages)
    assert table.attribute_names == ["camera", "place, told"]
    ids, columns = table.attributes()
    assert ids == IMAGES[:2]
    assert columns == {"camera": ["1", "2"], "place, told": ["x", None]}


def test_a_parquet_file_is_recognised_whatever_its_name(folder):
    pq.write_table(pa.table({"path": IMAGES, "label": list("aba")}), folder / "table.csv")
    assert len(listed(source())) == 3


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        (["nan", "roti", "nan"], ["nan", "roti", "nan"]),
        ([1, 2, 1], ["1", "2", "1"]),
        ([1.0, 2.0, 0.5], ["1", "2", "0.5"]),
        ([True, False, True], ["true", "false", "true"]),
        (pa.array(["cat", "dog", "cat"]).dictionary_encode(), ["cat", "dog", "cat"]),
        (["NA", "None", "null"], ["NA", "None", "null"]),
    ],
)
def test_labels_of_any_type_become_texts(folder, labels, texts):
    write_table(folder / "table.parquet", {"path": IMAGES, "label": labels})
    assert [row[1] for row in listed(source("set/table.parquet"))] == texts


def test_labels_in_a_csv_are_the_texts_that_stand_there(folder):
    (folder / "table.csv").write_text(
        'path,label\nimages/1.png,007\nimages/2.png,"a,b\nc"\nimages/3.png,1e3\n', encoding="utf-8-sig"
    )
    assert [row[1] for row in listed(source())] == ["007", "a,b\nc", "1e3"]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_rows_without_label_path_split_or_file_are_refused(folder, name):
    columns = {
        "path": ["images/1.png", "images/2.png", "images/3.png", None, "images/9.png", "images"],
        "label": ["cat", None, "dog", "dog", "dog", "dog"],
        "split": ["train", "train", "extra", "test", "test", None],
    }
    write_table(folder / name, columns)
    table = source(folder / name, split_column="split")
    assert [row[0] for row in listed(table)] == ["images/1.png"]
    assert refused(table) == {
        "images/2.png": "has no label",
        "images/3.png": "has split 'extra'; allowed: train, val and test, in their usual spellings",
        "row 4": "has no path",
        "images/9.png": "no such file in set",
        "images": "has no split; allowed: train, val and test, in their usual spellings",
    }


def test_labels_that_are_not_a_number_are_missing(folder):
    write_table(folder / "table.parquet", {"path": IMAGES, "label": [1.0, float("nan"), 2.0]})
    assert refused(source("set/table.parquet")) == {"images/2.png": "has no label"}


def test_nan_among_numbers_is_missing_in_a_csv_too(folder):
    (folder / "table.csv").write_text("path,label\nimages/1.png,1\nimages/2.png,nan\nimages/3.png,2\n")
    assert refused(source()) == {"images/2.png": "has no label"}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_table_is_read_whatever_its_separator_and_encoding(folder, separator, encoding):
    lines = ["path,label,note", "images/1.png,größe,x", '"images/2.png","dog","x"', "images/3.png,größe,"]
    text = "".join(f"{line.replace(',', separator)}\r\n" for line in lines)
    (folder / "table.csv").write_bytes((("\ufeff" if encoding == "utf-16-le" else "") + text).encode(encoding))
    assert [row[:2] for row in listed(source())] == list(zip(IMAGES, ["größe", "dog", "größe"], strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\nimages/1.png,größe\n".encode("latin-1"), "its encoding is not UTF-8"),
        (
            b"path, label\nimages/1.png, a\n",
            r"columns are 'path', ' label'.*the separator is a comma, .* without spaces",
        ),
        (b"images/1.png,a\n", "the first line names the columns"),
        (b"path:label\nimages/1.png:a\n", "the separator is a comma, semicolon, tab or |"),
        (b"PK\x03\x04\x14\x00\x06\x00\xff", "an Excel file; save the table as CSV"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_in_the_users_words(folder, content, message):
    (folder / "table.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        source().identity()


def test_paths_are_found_as_other_systems_write_them(folder, write):
    write(folder, ["images/e\u0301.png"])
    paths = ["images\\1.png", ".\\images\\2.png", "images/é.png", "images\\9.png", "file:///images/1.png"]
    write_table(folder / "table.csv", {"path": paths, "label": list("ababa")})
    assert [row[0] for row in listed(source())] == paths[:3]
    assert refused(source()) == {
        "images\\9.png": "no such file in set, with its backslashes as slashes neither",
        "file:///images/1.png": "a URL; a table names files on this machine, by their paths",
    }


def test_splits_are_known_in_any_usual_spelling(folder):
    write_table(folder / "table.csv", {"path": IMAGES, "label": list("aba"), "split": ["Training", "dev", "TESTING"]})
    assert [row[2] for row in listed(source(split_column="split"))] == ["train", "val", "test"]


def test_an_image_that_is_listed_twice_is_refused_the_second_time(folder):
    write_table(folder / "table.csv", {"path": [*IMAGES[:2], *IMAGES[:2]], "label": list("abac")})
    assert len(listed(source())) == 2
    assert refused(source()) == {
        "images/1.png (row 3)": "names the same image again",
        "images/2.png (row 4)": "names the same image again, as 'c' and before as 'b'",
    }


def test_paths_may_be_absolute_or_lead_out_of_the_tables_folder(folder, write, tmp_path):
    write(tmp_path / "elsewhere", ["1.png"])
    absolute = str(tmp_path / "elsewhere/1.png")
    write_table(folder / "table.csv", {"path": [absolute, "../set/images/1.png"], "label": ["a", "b"]})
    assert [row[0] for row in listed(source())] == [absolute, "../set/images/1.png"]


def test_missing_columns_are_named_with_those_there(folder):
    write_table(folder / "table.csv", {"file": IMAGES, "kind": list("aba")})
    with pytest.raises(DataError, match=r"no column 'path', 'label'; its columns are 'file', 'kind'. data.path_column"):
        source().identity()


def test_a_column_name_that_occurs_twice_is_an_error(folder):
    (folder / "table.csv").write_text("path,label,label\nimages/1.png,a,b\n")
    with pytest.raises(DataError, match="more than one column 'label'"):
        source().identity()


@pytest.mark.parametrize(
    "content", [b"", b"path,label\na,b,c\n", b"path,label\n\xff\xfe,a\n", b"PAR1 and no more", b"PK\x03\x04\x00\xff"]
)
def test_a_file_that_is_no_table_is_an_error(folder, content):
    (folder / "table.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"table.csv (cannot be read as a table|has no column)"):
        source().identity()
    if content.startswith(b"PAR1"):
        with pytest.raises(DataError, match=r"table.csv cannot be read as a table"):
            source().attribute_names()


def test_a_table_that_is_not_there_is_an_error():
    with pytest.raises(DataError, match=r"data.path = 'set/table.csv' is no file"):
        source()
