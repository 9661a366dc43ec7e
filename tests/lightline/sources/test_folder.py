"""A local folder of class folders: what is found, what is refused, how a change is noticed, from where it is read."""

import os
from pathlib import Path

import pytest

from lightline.data.dataset import Dataset
from lightline.errors import DataError
from stages.download.ingest import download
from tests.support.folder_source import NAMES, found, params, refused, source


def test_images_come_sorted_with_their_class_and_bytes(write, png):
    write(Path("raw"), NAMES)
    assert [(image.id, image.class_name, image.split) for image in found()] == [
        ("cat/1.png", "cat", None),
        ("cat/2.png", "cat", None),
        ("dog/1.png", "dog", None),
        ("dog/old/3.png", "dog", None),
    ]
    assert found()[1].read() == png(1)
    assert refused() == {}


def test_split_folders_give_the_split(write):
    write(Path("raw"), ["train/cat/1.png", "train/dog/1.png", "valid/cat/1.png", "test/dog/1.png"])
    assert {image.id: image.split for image in found()} == {
        "train/cat/1.png": "train",
        "train/dog/1.png": "train",
        "valid/cat/1.png": "val",
        "test/dog/1.png": "test",
    }


def test_hidden_files_are_passed_over(write):
    hidden = [".DS_Store", "cat/._1.png", "cat/Thumbs.db", "__MACOSX/cat/1.png", ".git/config", "dog/desktop.ini"]
    hidden += ["THUMBS.DB", "cat/ehthumbs.db", "Desktop.ini", "cat/Icon\r", "dog/.picasa.ini", "cat/Picasa.ini"]
    hidden += ["cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "$RECYCLE.BIN/1.png", "System Volume Information/x", "cat.dvc"]
    hidden += ["lost+found/1.png", "cat/.ipynb_checkpoints/1.png", ".AppleDouble/1.png", "dog/1.png:Zone.Identifier"]
    write(Path("raw"), NAMES + hidden)
    assert len(found()) == 4
    assert refused() == {}


def test_files_in_no_class_folder_and_too_large_ones_are_refused(write):
    write(Path("raw"), NAMES)
    write(Path("raw"), {"README.md": b"text", "cat/film.avi": bytes(2_000_000)})
    assert refused() == {
        "README.md": "lies in no class folder",
        "cat/film.avi": "2000000 bytes are more than an image of data.max_pixels = 1000 can take",
    }


def test_links_out_of_the_folder_in_circles_and_to_nothing_are_refused(write, tmp_path):
    write(Path("raw"), NAMES)
    write(tmp_path / "elsewhere", ["secret.png", "more/1.png"])
    links = {
        "cat/out.png": tmp_path / "elsewhere" / "secret.png",
        "cat/up.png": Path("../../../elsewhere/secret.png"),
        "more": tmp_path / "elsewhere" / "more",
        "cat/circle": Path("../cat"),
        "cat/all": Path(".."),
        "cat/gone.png": Path("nothing.png"),
    }
    for name, target in links.items():
        (Path("raw") / name).symlink_to(target)
    assert len(found()) == 4
    assert refused() == {
        "cat/out.png": "a symbolic link that leads out of the folder; put there what it leads to",
        "cat/up.png": "a symbolic link that leads out of the folder; put there what it leads to",
        "more": "a symbolic link that leads out of the folder; put there what it leads to",
        "cat/circle": "a symbolic link to a folder that it lies in",
        "cat/all": "a symbolic link to a folder that it lies in",
        "cat/gone.png": "a symbolic link to nothing",
    }


def test_links_that_are_not_followed_are_told_where_too_little_is_left(write, tmp_path):
    write(tmp_path / "elsewhere", NAMES)
    Path("raw").mkdir()
    Path("raw/cat").symlink_to(tmp_path / "elsewhere/cat")
    told = r"Not used were:\n  cat: a symbolic link that leads out of the folder; put there what it leads to$"
    with pytest.raises(DataError, match=rf"holds no files that can be used(.|\n)*{told}"):
        source().identity()
    write(Path("raw"), ["dog/1.png"])
    with pytest.raises(DataError, match=rf"only one class, dog/(.|\n)*{told}"):
        found()


def test_two_folders_that_link_to_one_another_do_not_hang(write):
    write(Path("raw"), NAMES)
    Path("raw/cat/dogs").symlink_to("../dog")
    Path("raw/dog/cats").symlink_to("../cat")
    assert set(refused().values()) == {"a symbolic link to a folder that it lies in"}


def test_links_inside_the_folder_are_followed(write, png):
    write(Path("raw"), NAMES)
    Path("raw/dog/same.png").symlink_to("../cat/1.png")
    images = {image.id: image for image in found()}
    assert images["dog/same.png"].read() == png(0)


def test_the_folder_itself_may_be_a_link(write, tmp_path):
    write(tmp_path / "elsewhere", NAMES)
    Path("raw").symlink_to(tmp_path / "elsewhere")
    assert len(found()) == 4


def test_names_that_are_not_utf8_are_refused_and_shown(write):
    write(Path("raw"), NAMES)
    Path(os.fsdecode(b"raw/cat/\xff.png")).write_bytes(b"")
    assert refused() == {"cat/\\udcff.png": "its name is not valid UTF-8; rename it"}
    assert source().identity()


def test_names_of_any_other_kind_are_kept(write):
    names = ["cat/a,b\n.png", "cat/é.png", "cat/e\u0301.png", "cat/A.png", "cat/a.png", "dog/ .png"]
    write(Path("raw"), names)
    assert sorted(image.id for image in found()) == sorted(names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no files"),
        ([".hidden/1.png"], "holds no files"),
    ],
)
def test_a_folder_without_files_is_an_error(write, names, message):
    Path("raw").mkdir()
    write(Path("raw"), names)
    with pytest.raises(DataError, match=message):
        source().identity()


def test_a_path_that_does_not_exist_is_an_error():
    with pytest.raises(DataError, match=r"data.path = 'raw' is neither a folder nor a file"):
        source()


def test_the_source_files_are_left_as_they_are(write):
    write(Path("raw"), NAMES)
    write(Path("raw"), {"cat/bad.png": b"no image"})
    before = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in Path("raw").rglob("*")}
    download(source(), params(max_rejected=1))
    assert len(Dataset()) == 4
    assert before == {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in Path("raw").rglob("*")
    }


@pytest.mark.parametrize("variable", ["LIGHTLINE_ORIGIN", "DVC_ROOT"])
@pytest.mark.parametrize("placeholder", [False, True])
def test_a_copy_of_the_repository_reads_the_users_folder(
    write, repository, tmp_path, monkeypatch, variable, placeholder
):
    write(repository / "data/raw", NAMES)
    identity = source("data/raw").identity()
    clone = tmp_path / "clone"
    (clone / "data").mkdir(parents=True)
    if placeholder:
        write(clone, {"data/raw/.gitkeep": b""})
    monkeypatch.chdir(clone)
    monkeypatch.setenv(variable, str(repository))
    assert source("data/raw").identity() == identity
    assert len(found("data/raw")) == 4
    assert not (clone / ".lightline").exists()


def test_a_copy_that_has_the_folder_reads_its_own(write, repository, tmp_path, monkeypatch):
    write(repository / "raw", NAMES)
    write(tmp_path / "clone/raw", NAMES[:3])
    monkeypatch.chdir(tmp_path / "clone")
    monkeypatch.setenv("DVC_ROOT", str(repository))
    assert len(found()) == 3
