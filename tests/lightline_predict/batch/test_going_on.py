"""`lightline-predict batch`: killed, interrupted, a full disk, two at once; what is there is gone on with."""

import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lightline_predict import images
from lightline_predict.batching.parts import Parts
from tests.support import ROOT
from tests.support.batch import batch, random_pixels, rows
from tests.support.model_files import write_model
from tests.support.small_disk import files_of_at_most

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
