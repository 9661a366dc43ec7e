"""`lightline-predict batch`: every kind of input, what cannot be read, kills, and what it refuses."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lightline_predict import images
from lightline_predict.__main__ import main
from lightline_predict.batching import run as running
from lightline_predict.batching.parts import Parts
from lightline_predict.batching.progress import Progress
from lightline_predict.classifier import Classifier
from tests.support import ROOT
from tests.support.archives import compressed
from tests.support.model_files import CLASSES, write_model
from tests.support.small_disk import files_of_at_most

# In the order of their names, with folders where they stand in it.
NAMES = ("a.png", "b/größe.jpg", "b/z.png", "c.gif")


def random_pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "model.onnx")


@pytest.fixture
def photos(tmp_path) -> Path:
    """Four images, one hidden, and one that is none."""
    folder = tmp_path / "photos"
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_pixels(9 + number, 12, 3, seed=number)).save(path)
    (folder / ".hidden.png").write_bytes(b"hidden")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.png").write_bytes(b"hidden")
    return folder


def batch(*arguments: object) -> int:
    try:
        return main(["batch", *map(str, arguments)])
    except SystemExit as end:  # whose text Python prints to stderr, to exit with 1
        print(end.code, file=sys.stderr)
        return 1


def rows(out: Path) -> list[dict]:
    return pq.read_table(out).to_pylist()


def check(out: Path, model_file: Path, contents: dict[str, bytes]) -> None:
    """OUT has these images, by id in this order, with the answers of the model file."""
    found = rows(out)
    assert [row["id"] for row in found] == list(contents)
    model = Classifier(model_file)
    for row, content in zip(found, contents.values(), strict=True):
        pixels = images.check(content, 10**8).pixels
        answers = model(pixels)
        assert (row["height"], row["width"]) == pixels.shape[:2]
        assert (row["predicted"], row["error"]) == (answers.classes[0], None)
        assert row["accepted"] == answers.accepted[0]
        assert row["set"] == [name for name, is_in in zip(CLASSES, answers.set[0], strict=True) if is_in]
        np.testing.assert_allclose(row["probabilities"], answers.probabilities[0], atol=1e-5)
        assert row["confidence"] == max(row["probabilities"])


def contents_of(photos: Path) -> dict[str, bytes]:
    return {name: (photos / name).read_bytes() for name in NAMES}


def as_zip(photos: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents_of(photos).items():
            archive.writestr(name, content)
        archive.writestr("__MACOSX/._a.png", b"hidden")
    return path


def as_tar(photos: Path, path: Path, kind: str = "tar") -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(photos, ".", filter=lambda info: None if info.name.endswith(".jpg") else info)
        archive.add(photos / "b/größe.jpg", "./b/größe.jpg")
    path.write_bytes(compressed(buffer.getvalue(), kind))
    return path


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


@pytest.fixture
def many(tmp_path) -> Path:
    """Three hundred small images."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        content = images.encode(random_pixels(8 + number % 3, 8, 3, seed=number))
        (folder / f"{number:03d}.png").write_bytes(content)
    return folder


@pytest.fixture
def parts_often(monkeypatch) -> None:
    """A part for every chunk."""
    monkeypatch.setattr(running, "_KEEP_ROWS", 1)


_VICTIM = """
import os, signal, sys
from pathlib import Path
from lightline_predict.batching import run
from lightline_predict.__main__ import main
run._KEEP_ROWS = 1
left = int(sys.argv[1])
def die_at(name, before):
    def dies(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*arguments, **named)
    return dies
os.fsync = die_at("fsync", os.fsync)
Path.replace = die_at("replace", Path.replace)
import shutil
shutil.rmtree = die_at("rmtree", shutil.rmtree)
sys.exit(main(sys.argv[2:]))
"""


def killed_at(step: int, *arguments: object) -> int:
    """Run the command in a process of its own that is killed before its nth step that changes the disk."""
    command = [sys.executable, "-c", _VICTIM, str(step), "batch", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_a_killed_run_goes_on_to_the_same_bytes(model_file, many, tmp_path, kind, parts_often, capsys):
    source = many
    if kind == "tar":
        source = tmp_path / "many.tar"
        with tarfile.open(source, "w") as archive:
            archive.add(many, ".")
    expected, out = tmp_path / "expected.parquet", tmp_path / "out.parquet"
    assert batch(model_file, source, expected) == 0
    for step in (2, 7) if kind == "folder" else (4,):  # 10 parts of an fsync and a name each
        assert killed_at(step, model_file, source, out) == -signal.SIGKILL
        assert not out.exists()
    capsys.readouterr()
    assert batch(model_file, source, out) == 0
    assert "images were answered before; going on after them." in capsys.readouterr().err
    assert out.read_bytes() == expected.read_bytes()
    assert not out.with_name("out.parquet.parts").exists()


def test_a_run_killed_at_its_very_end(model_file, photos, tmp_path):
    expected, out = tmp_path / "expected.parquet", tmp_path / "out.parquet"
    assert batch(model_file, photos, expected) == 0
    assert killed_at(5, model_file, photos, out) == -signal.SIGKILL  # behind fsync and name of the part, and of OUT
    assert out.with_name("out.parquet.parts").exists()
    assert out.read_bytes() == expected.read_bytes()
    assert batch(model_file, photos, out) == 0
    assert out.read_bytes() == expected.read_bytes()


@pytest.fixture
def unfinished(model_file, many, tmp_path, parts_often, monkeypatch) -> Path:
    """OUT of a run over `many` that was interrupted behind its second part."""
    out, write = tmp_path / "out.parquet", Parts.write

    def interrupted(parts: Parts) -> None:
        if parts.num_rows >= 64:
            raise KeyboardInterrupt
        write(parts)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", interrupted)
        assert batch(model_file, many, out) == 130
    assert [path.name for path in sorted(tmp_path.glob("out.parquet.parts/0*"))] == ["00000.parquet", "00001.parquet"]
    return out


def test_parts_of_another_model_are_refused(many, unfinished, tmp_path, capsys):
    other = write_model(tmp_path / "other.onnx", seed=1)
    assert batch(other, many, unfinished) == 1
    assert capsys.readouterr().err == (
        f"error: {unfinished}.parts holds answers that were made with another model. Delete that folder to begin anew, "
        "or name another file to write.\n"
    )
    assert len(list(unfinished.with_name("out.parquet.parts").glob("0*"))) == 2


def changed(many: Path) -> None:
    (many / "010.png").write_bytes(images.encode(random_pixels(8, 9, 3)))


def renamed(many: Path) -> None:
    (many / "010.png").rename(many / "010a.png")


def fewer(many: Path) -> None:
    for path in list(many.iterdir()):
        if path.name > "050.png":
            path.unlink()


@pytest.mark.parametrize("change", [changed, renamed, fewer])
def test_parts_of_other_images_are_refused(model_file, many, unfinished, change, capsys):
    change(many)
    assert batch(model_file, many, unfinished) == 1
    assert "holds answers of other images than are there now" in capsys.readouterr().err


def test_images_behind_those_that_are_answered_may_come(model_file, many, unfinished):
    (many / "999.png").write_bytes((many / "000.png").read_bytes())
    assert batch(model_file, many, unfinished) == 0
    assert len(rows(unfinished)) == 301


def test_a_damaged_part_is_made_again(model_file, many, unfinished, tmp_path):
    assert batch(model_file, many, tmp_path / "expected.parquet") == 0
    (unfinished.with_name("out.parquet.parts") / "00000.parquet").write_bytes(b"PAR1")
    assert batch(model_file, many, unfinished) == 0
    assert unfinished.read_bytes() == (tmp_path / "expected.parquet").read_bytes()


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
        ("none/out.parquet", "none/out.parquet cannot be written: there is no folder none."),
        ("out.csv", "out.csv is to be a Parquet file; its name ends in .parquet."),
        ("folder.parquet", "folder.parquet is a folder; name a file to write."),
    ],
)
def test_an_output_that_cannot_be_written(model_file, photos, own_folder, out, said, capsys):
    Path("folder.parquet").mkdir()
    assert batch(model_file, photos, out) == 1
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize("arguments", [("--threads", "0"), ("--batch-size", "many")])
def test_numbers_that_cannot_be(model_file, photos, tmp_path, arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["batch", str(model_file), str(photos), str(tmp_path / "out.parquet"), *arguments])
    assert end.value.code == 2
    assert "is not a number of at least 1" in capsys.readouterr().err


def test_two_at_once_on_one_out(model_file, photos, tmp_path, capsys):
    import fcntl

    (tmp_path / "out.parquet.parts").mkdir()
    with (tmp_path / "out.parquet.parts" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert batch(model_file, photos, tmp_path / "out.parquet") == 1
    assert f"Another process is writing {tmp_path / 'out.parquet'}; wait for it" in capsys.readouterr().err


def test_a_disk_that_takes_no_more(model_file, many, tmp_path, parts_often, capsys):
    expected, out = tmp_path / "expected.parquet", tmp_path / "out.parquet"
    assert batch(model_file, many, expected) == 0
    largest_part = 8_000  # bytes; all rows together take more
    capsys.readouterr()
    with files_of_at_most(largest_part):
        assert batch(model_file, many, out) == 1
    assert capsys.readouterr().err == (
        f"error: {out} cannot be written: File too large in {tmp_path}. 300 answers are kept; the same command goes on "
        "after them.\n"
    )
    assert not out.exists()
    assert batch(model_file, many, out) == 0
    assert out.read_bytes() == expected.read_bytes()


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
