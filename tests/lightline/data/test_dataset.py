"""The dataset's files: the same bytes for the same rows, one digest whatever the order, images read one by one."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from lightline.data import dataset
from lightline.data.dataset import Dataset, Row, write_dataset
from lightline.errors import DataError
from lightline_predict import images
from lightline_predict.images import pixel_digest

CLASSES = ("cat", "dog", "newt")


def rows(num_rows: int, size: int = 4) -> list[Row]:
    pixels = np.random.default_rng(0).integers(0, 256, (num_rows, size, size, 3), dtype=np.uint8)
    return [
        Row(f"{number:05d}.png", images.encode(one), CLASSES[number % 3], size, size, pixel_digest(one))
        for number, one in enumerate(pixels)
    ]


def test_what_is_written_is_read(tmp_path):
    some = rows(700)
    some[3] = dataclasses.replace(some[3], split="test", group="patient 1")
    write_dataset(some, None, tmp_path / "dataset")
    read = Dataset(tmp_path / "dataset")
    assert len(read) == 700
    assert tuple(read.classes) == CLASSES
    assert read.labels.dtype == np.int32
    assert read.labels[:4].tolist() == [0, 1, 2, 0]
    assert read.column("id")[3] == "00003.png"
    assert read.column("split")[:4].tolist() == [None, None, None, "test"]
    assert read.column("group")[3] == "patient 1"
    for row in (0, 255, 256, 699):
        assert read.encoded(row) == some[row].image
        assert pixel_digest(read.pixels(row)) == some[row].digest


def test_codes_are_equal_where_texts_are(tmp_path):
    some = rows(4)
    some[2] = dataclasses.replace(some[2], digest=some[0].digest, group="patient 1")
    write_dataset(some, None, tmp_path)
    read = Dataset(tmp_path)
    assert read.codes("digest").tolist() == [0, 1, 0, 2]
    assert read.codes("group").tolist() == [-1, -1, 0, -1]
    assert read.codes("digest").dtype == np.int64


def test_rows_are_sorted_by_id_and_keep_their_images(tmp_path):
    some = rows(600)
    shuffled = random.Random(0).sample(some, len(some))
    write_dataset(shuffled, None, tmp_path)
    read = Dataset(tmp_path)
    assert read.column("id").tolist() == [row.id for row in some]
    assert [read.encoded(row) for row in (0, 300, 599)] == [some[row].image for row in (0, 300, 599)]


def test_two_runs_write_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_dataset(rows(300), None, tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 3


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_digest_does_not_depend_on_the_order(tmp_path):
    write_dataset(rows(300), None, tmp_path / "one")
    write_dataset(reversed(rows(300)), None, tmp_path / "two")
    assert Dataset(tmp_path / "one").digest == Dataset(tmp_path / "two").digest


@pytest.mark.parametrize(
    "change", [{"id": "other"}, {"class_name": "dog"}, {"digest": "0" * 64}, {"split": "test"}, {"group": "g"}]
)
def test_the_digest_depends_on_all_that_matters(tmp_path, change):
    some = rows(6)
    write_dataset(some, CLASSES, tmp_path / "one")
    write_dataset([dataclasses.replace(some[0], **change), *some[1:]], CLASSES, tmp_path / "two")
    assert Dataset(tmp_path / "one").digest != Dataset(tmp_path / "two").digest


def test_the_digest_depends_on_the_order_of_the_classes(tmp_path):
    write_dataset(rows(6), CLASSES, tmp_path / "one")
    write_dataset(rows(6), CLASSES[::-1], tmp_path / "two")
    assert Dataset(tmp_path / "one").digest != Dataset(tmp_path / "two").digest


def test_large_images_are_written_in_small_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "_BYTES_PER_BATCH", 1000)
    some = rows(40)
    held = []

    def watched():
        for row in some:
            held.append(row)
            yield row

    write_dataset(watched(), None, tmp_path)
    read = Dataset(tmp_path)
    assert read._images.num_chunks > 3
    assert [read.encoded(row) for row in range(40)] == [row.image for row in some]


def test_classes_may_be_given_and_need_not_all_occur(tmp_path):
    write_dataset(rows(3), ("newt", "dog", "cat", "owl"), tmp_path)
    assert Dataset(tmp_path).labels.tolist() == [2, 1, 0]


def test_a_class_that_was_not_given_is_an_error(tmp_path):
    with pytest.raises(DataError, match="the class 'newt', which is none of its classes"):
        write_dataset(rows(3), ("cat", "dog"), tmp_path)


def test_two_images_of_one_name_are_an_error_and_what_was_there_stays(tmp_path):
    folder = tmp_path / "dataset"
    write_dataset(rows(3), None, folder)
    before = contents(folder)
    with pytest.raises(DataError, match=r"two images '00001.png'"):
        write_dataset([*rows(3), rows(2)[1]], None, folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_no_image_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no usable image"):
        write_dataset([], None, tmp_path / "dataset")


def test_no_dataset_is_an_error_that_says_what_writes_it(tmp_path):
    with pytest.raises(DataError, match="dvc repro download"):
        Dataset(tmp_path)
