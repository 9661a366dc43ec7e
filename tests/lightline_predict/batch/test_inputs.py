"""`lightline-predict batch`: every kind of input, and what cannot be read in it."""

import io
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightline_predict.batching.progress import Progress
from lightline_predict.classifier import Classifier
from tests.support.batch import NAMES, as_tar, as_zip, batch, check, contents_of, rows
from tests.support.model_files import CLASSES, write_model


def test_a_member_that_lies_above_is_a_member(photos, tmp_path, model_file):
    """As `zip -r photos.zip ../photos` has them; nothing is unpacked."""
    with zipfile.ZipFile(tmp_path / "above.zip", "w") as archive:
        archive.write(photos / "a.png", "../photos/a.png")
    assert batch(model_file, tmp_path / "above.zip", tmp_path / "out.parquet") == 0
    assert [row["id"] for row in rows(tmp_path / "out.parquet")] == ["../photos/a.png"]


def test_a_folder(model_file, photos, tmp_path, capsys):
    out = tmp_path / "out.parquet"
    assert batch(model_file, photos, out) == 0
    assert capsys.readouterr() == (f"{out}: 4 images\n", "")
    check(out, model_file, contents_of(photos))
    metadata = pq.read_schema(out).metadata
    assert json.loads(metadata[b"classes"]) == list(CLASSES)
    assert metadata[b"fingerprint"] == b"f" * 64
    assert set(metadata) >= {b"model_sha256", b"lightline_predict"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "photos"]


def test_a_zip(model_file, photos, tmp_path):
    assert batch(model_file, as_zip(photos, tmp_path / "photos.zip"), tmp_path / "out.parquet") == 0
    check(tmp_path / "out.parquet", model_file, contents_of(photos))


def test_a_zip_of_macos_whose_names_are_not_marked_as_utf8(model_file, photos, tmp_path):
    path = as_zip(photos, tmp_path / "photos.zip")
    marked = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("b/größe.jpg").flag_bits & 0x800
    for place in (b"PK\3\4", b"PK\1\2"):
        at = 6 if place == b"PK\3\4" else 8
        pieces = marked.split(place)
        marked = pieces[0] + b"".join(
            place + piece[: at - 4] + piece[at - 4 : at - 2].replace(b"\0\x08", b"\0\0") + piece[at - 2 :]
            for piece in pieces[1:]
        )
    path.write_bytes(marked)
    assert batch(model_file, path, tmp_path / "out.parquet") == 0
    assert [row["id"] for row in rows(tmp_path / "out.parquet")] == list(NAMES)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst", "tar.bz2", "tar.xz"])
def test_a_tar(model_file, photos, tmp_path, kind):
    assert batch(model_file, as_tar(photos, tmp_path / f"photos.{kind}", kind), tmp_path / "out.parquet") == 0
    contents = contents_of(photos)
    order = [row["id"] for row in rows(tmp_path / "out.parquet")]
    assert sorted(order) == sorted(NAMES)
    check(tmp_path / "out.parquet", model_file, {name: contents[name] for name in order})


@pytest.mark.parametrize(("encoding", "separator"), [("utf-8", ","), ("utf-8-sig", ";"), ("utf-16", "\t")])
def test_a_csv_of_paths(model_file, photos, tmp_path, encoding, separator):
    lines = [["label", "path"], *([name, name] for name in NAMES), ["x", str(photos / "a.png")]]
    text = "\n".join(separator.join(line) for line in lines)
    (photos / "table.csv").write_text(text, encoding=encoding)
    assert batch(model_file, photos / "table.csv", tmp_path / "out.parquet") == 0
    contents = contents_of(photos)
    check(tmp_path / "out.parquet", model_file, contents | {str(photos / "a.png"): contents["a.png"]})


def test_rows_are_counted_for_a_terminal_and_read_nevertheless(model_file, photos, tmp_path, monkeypatch, capsys):
    (photos / "table.csv").write_text("path\n" + "\n".join(NAMES * 10))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert batch(model_file, photos / "table.csv", tmp_path / "out.parquet") == 0
    assert [row["id"] for row in rows(tmp_path / "out.parquet")] == list(NAMES * 10)
    assert "could not be read" not in capsys.readouterr().err


def test_a_parquet_of_paths_with_ids(model_file, photos, tmp_path):
    table = pa.table({"number": [7, 8, 9, 10], "photo": NAMES})
    pq.write_table(table, photos / "table.parquet")
    out = tmp_path / "out.parquet"
    assert batch(model_file, photos / "table.parquet", out, "--column", "photo", "--id-column", "number") == 0
    check(out, model_file, dict(zip(["7", "8", "9", "10"], contents_of(photos).values(), strict=True)))


@pytest.mark.parametrize("form", ["binary", "large_binary", "hugging face"])
def test_a_parquet_of_images(model_file, photos, tmp_path, form):
    contents = contents_of(photos)
    values = list(contents.values())
    column = pa.array(values, pa.large_binary() if form == "large_binary" else pa.binary())
    if form == "hugging face":
        column = pa.array([{"bytes": content, "path": name} for name, content in contents.items()])
    pq.write_table(pa.table({"image": column, "label": [1, 2, 3, 4]}), tmp_path / "table.parquet")
    assert batch(model_file, tmp_path / "table.parquet", tmp_path / "out.parquet") == 0
    ids = NAMES if form == "hugging face" else [f"row {number}" for number in (1, 2, 3, 4)]
    check(tmp_path / "out.parquet", model_file, dict(zip(ids, values, strict=True)))


def test_what_cannot_be_read_has_a_row_that_says_why(model_file, photos, tmp_path, capsys):
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:100])
    (photos / "empty.png").touch()
    (photos / "gone.png").symlink_to("nowhere")
    os.mkfifo(photos / "pipe.png")
    (photos / "text.txt").write_text("text")
    out = tmp_path / "out.parquet"
    assert batch(model_file, photos, out) == 1
    assert capsys.readouterr().err == "5 of 9 could not be read; `error` says why.\n"
    found = {row["id"]: row for row in rows(out)}
    assert len(found) == 9
    for name, reason in {
        "cut.png": "cannot be decoded",
        "empty.png": "the file is empty",
        "gone.png": "cannot be read: No such file",
        "pipe.png": "a folder, pipe or device, not a file",
        "text.txt": "not an image in a known format",
    }.items():
        assert found[name]["error"].startswith(reason)
        assert {value for key, value in found[name].items() if key not in ("id", "error")} == {None}
    assert found["a.png"]["error"] is None


def test_rows_of_a_table_that_name_nothing(model_file, photos, tmp_path):
    (photos / "table.csv").write_text("path,x\na.png,1\n,2\nnone.png,3\nhttps://example.com/a.png,4\n")
    assert batch(model_file, photos / "table.csv", tmp_path / "out.parquet") == 1
    assert [(row["id"], (row["error"] or "")[:26]) for row in rows(tmp_path / "out.parquet")] == [
        ("a.png", ""),
        ("row 2", "row has no path"),
        ("none.png", "cannot be read: No such fi"),
        ("https://example.com/a.png", "https://example.com/a.png "),
    ]


def test_members_that_cannot_be_used(model_file, photos, tmp_path):
    path = as_zip(photos, tmp_path / "photos.zip")
    content = bytearray(path.read_bytes())
    content[60] ^= 255  # in the first member's bytes
    path.write_bytes(content)
    assert batch(model_file, path, tmp_path / "out.parquet") == 1
    first, *others = rows(tmp_path / "out.parquet")
    assert first["error"].startswith("damaged in the archive")
    assert not any(row["error"] for row in others)


def test_a_file_too_large_for_any_image_is_not_read(model_file, photos, tmp_path):
    with (photos / "film.mp4").open("wb") as film:
        film.truncate(10**12)
    assert batch(model_file, photos, tmp_path / "out.parquet") == 1
    found = next(row for row in rows(tmp_path / "out.parquet") if row["id"] == "film.mp4")
    assert found["error"].startswith("1000000000000 bytes are more than an image of data.max_pixels = ")


def test_out_may_lie_in_the_folder_that_is_read(model_file, photos, monkeypatch):
    monkeypatch.chdir(photos)
    for _ in range(2):
        assert batch(model_file, ".", "out.parquet") == 0
        assert [row["id"] for row in rows(Path("out.parquet"))] == list(NAMES)


def test_the_embedding(photos, tmp_path, model_file, capsys):
    model, out = write_model(tmp_path / "model.onnx", embedding=True), tmp_path / "out.parquet"
    assert batch(model, photos, out, "--embedding") == 0
    check(out, model, contents_of(photos))
    expected = Classifier(model)([photos / name for name in NAMES]).embedding
    np.testing.assert_allclose([row["embedding"] for row in rows(out)], expected, atol=1e-5)
    assert batch(model, photos, out) == 0
    assert "embedding" not in rows(out)[0]
    assert batch(model_file, photos, tmp_path / "out.parquet", "--embedding") == 1
    assert "gives no embedding; export.embedding=true writes a model file that does" in capsys.readouterr().err


@pytest.mark.parametrize("threads", [1, 3])
def test_the_bytes_do_not_depend_on_threads(model_file, photos, tmp_path, threads):
    outs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    assert batch(model_file, photos, outs[0], "--threads", 2) == 0
    assert batch(model_file, photos, outs[1], "--threads", threads) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_a_line_on_a_terminal_says_how_far_it_is():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Progress(1000, 200, Terminal())
    shown.add(300)
    assert shown.line(10) == "500 of 1,000 images, 30/s, 17 s left"
    assert Progress(100_000, 0, Terminal()).line(0) == "0 of 100,000 images, 0/s"
    unknown = Progress(None, 0, Terminal())
    unknown.add(60)
    assert unknown.line(60, 0.25) == "60 images, 1/s, 25% of the archive"
    elsewhere = io.StringIO()
    Progress(3, 0, elsewhere).end()
    assert elsewhere.getvalue() == ""
