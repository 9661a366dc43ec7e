"""`lightline-predict batch`: what it refuses, in a sentence."""

import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightline_predict import images
from lightline_predict.__main__ import main
from tests.support.batch import as_tar, as_zip, batch, random_pixels
from tests.support.closed_folder import close_folder


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("none", "error: none does not exist."),
        ("empty", "error: There is no file in empty; hidden ones are left out."),
        ("a.txt", "error: a.txt is nothing that can be read here: a folder, an archive (zip, tar, tar.gz, tar.zst"),
        ("photos/a.png", "error: photos/a.png is nothing that can be read here"),
        ("cut.zip", "error: cut.zip cannot be read as a zip archive: File is not a zip file."),
        ("cut.tar.gz", "error: cut.tar.gz is damaged or no tar archive: "),
        ("middle.tar", "error: middle.tar is damaged or no tar archive: unexpected end of data."),
        ("header.tar", "error: header.tar is damaged or no tar archive: bad checksum at byte "),
        ("middle.tar.gz", "error: middle.tar.gz is damaged or no tar archive: Compressed file ended before"),
        ("middle.tar.zst", "error: middle.tar.zst is damaged or no tar archive: "),
        ("latin.csv", "error: latin.csv cannot be read as a table in UTF-8: "),
        ("cut.parquet", "error: cut.parquet is a damaged Parquet file: "),
        ("x.csv", "error: x.csv has none of the columns path, image, file_name, filename, file; --column names"),
        ("label.parquet", "error: label.parquet's column 'image' is of type int64; paths (string), encoded images"),
        ("https://example.com/a.zip", "error: https://example.com/a.zip is of no kind that can be read"),
        ("out.parquet", "error: out.parquet is what is read; name another file to write."),
    ],
)
def test_an_input_that_cannot_be_used(model_file, photos, own_folder, source, said, capsys):
    (own_folder / "empty").mkdir()
    Path("a.txt").write_text("text")
    Path("x.csv").write_text("photo,label\na.png,1\n")
    Path("cut.zip").write_bytes(as_zip(photos, Path("whole.zip")).read_bytes()[:-40])
    Path("cut.tar.gz").write_bytes(as_tar(photos, Path("whole.tar.gz"), "tar.gz").read_bytes()[:-200])
    (photos / "large.png").write_bytes(images.encode(random_pixels(200, 200, 3)))
    for kind in ("tar", "tar.gz", "tar.zst"):
        path = as_tar(photos, Path(f"middle.{kind}"), kind)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    damaged = bytearray(as_tar(photos, Path("header.tar"), "tar").read_bytes())
    with tarfile.open("header.tar") as members:
        damaged[members.getmembers()[-1].offset] ^= 0xFF
    Path("header.tar").write_bytes(damaged)
    Path("latin.csv").write_text("path,größe\na.png,1\n", encoding="latin-1")
    pq.write_table(pa.table({"image": [1, 2]}), "label.parquet")
    Path("cut.parquet").write_bytes(Path("label.parquet").read_bytes()[:-9])
    Path("out.parquet").write_bytes(b"an older file")
    assert batch(model_file, source, "out.parquet") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)
    assert Path("out.parquet").read_bytes() == b"an older file"


def test_a_column_that_is_not_there(model_file, photos, tmp_path, capsys):
    (photos / "table.csv").write_text("path,label\na.png,1\n")
    assert batch(model_file, photos / "table.csv", tmp_path / "out.parquet", "--column", "photo") == 1
    assert "table.csv has no column 'photo'; there are 'path', 'label'." in capsys.readouterr().err
    assert batch(model_file, photos, tmp_path / "out.parquet", "--column", "photo") == 1
    assert "photos is a folder; --column and --id-column are of tables." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("none/out.parquet", "none/out.parquet cannot be written: the folder none does not exist."),
        ("out.csv", "out.csv is to be a Parquet file; its name ends in .parquet."),
        ("folder.parquet", "folder.parquet is a folder; name a file to write."),
    ],
)
def test_an_output_that_cannot_be_written(model_file, photos, own_folder, out, said, capsys):
    Path("folder.parquet").mkdir()
    assert batch(model_file, photos, out) == 1
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_folder_that_may_not_be_entered_is_told(model_file, photos, own_folder, monkeypatch, capsys):
    close_folder(monkeypatch, "closed")
    for arguments in ((photos, "closed/out.parquet"), ("closed", "out.parquet")):
        assert batch(model_file, *arguments) == 1
        assert "closed cannot be read: Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--threads", "0"), ("--batch-size", "many")])
def test_numbers_that_cannot_be(model_file, photos, tmp_path, arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["batch", str(model_file), str(photos), str(tmp_path / "out.parquet"), *arguments])
    assert end.value.code == 2
    assert "is not a number of at least 1" in capsys.readouterr().err
