"""Files and folders that are whole or not there."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lightline.errors import NoRoomError
from lightline.files import (
    content_digest,
    file_digest,
    temporary_files_beside,
    whole_file,
    whole_folder,
    write_csv,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def break_off(path: Path) -> None:
    path.write_text("half")
    raise KeyboardInterrupt


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "report.csv"
    with whole_file(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.suffix == ".csv"  # by which writers choose a format
        assert temporary.parent == target.parent  # a rename is atomic within one file system
    assert target.read_text() == "half"
    assert names(target.parent) == ["report.csv"]


def test_a_file_stays_as_it_was_when_writing_fails(tmp_path):
    target = tmp_path / "report.csv"
    target.write_text("old")

    with pytest.raises(KeyboardInterrupt), whole_file(target) as temporary:
        break_off(temporary)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["report.csv"]


def test_a_file_nobody_wrote_is_an_error(tmp_path):
    target = tmp_path / "report.csv"
    target.write_text("old")

    with pytest.raises(FileNotFoundError), whole_file(target):
        pass
    assert target.read_text() == "old"


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "set"
    for content in ({"a", "b"}, {"b", "c"}):
        with whole_folder(target) as temporary:
            for name in content:
                (temporary / name).write_text(name)
        assert set(names(target)) == content
    assert names(tmp_path) == ["set"]


def test_a_folder_stays_as_it_was_when_writing_fails(tmp_path):
    target = tmp_path / "set"
    target.mkdir()
    (target / "a").write_text("old")

    with pytest.raises(KeyboardInterrupt), whole_folder(target) as temporary:
        break_off(temporary / "a")
    assert (target / "a").read_text() == "old"
    assert names(tmp_path) == ["set"]


KILLED = """
import os, pathlib, shutil, signal, sys
from lightline import files

target, moment = pathlib.Path(sys.argv[2]), sys.argv[3]
writer = {"file": files.whole_file, "folder": files.whole_folder}[sys.argv[1]]
kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with writer(target) as temporary:
    (temporary / "a" if sys.argv[1] == "folder" else temporary).write_text("half")
    if moment == "writing":
        kill()
    shutil.rmtree = kill  # while what was there before is deleted
print("not killed")
"""


def run_killed(kind: str, target: Path, moment: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", KILLED, kind, str(target), moment], capture_output=True, text=True, check=False
    )
    assert process.returncode == -9, process.stdout + process.stderr


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    target = tmp_path / "report.csv"
    target.write_text("old")
    run_killed("file", target, "writing")
    assert target.read_text() == "old"


@pytest.mark.parametrize("moment", ["writing", "deleting"])
def test_a_kill_leaves_the_old_folder_or_the_new_but_no_part(tmp_path, moment):
    target = tmp_path / "set"
    target.mkdir()
    for name in ("a", "b"):
        (target / name).write_text("old")
    run_killed("folder", target, moment)
    content = {name: (target / name).read_text() for name in names(target)}
    assert content == ({"a": "old", "b": "old"} if moment == "writing" else {"a": "half"})


def test_json_is_in_the_order_given_and_readable(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": ["größe", None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "b": 1,\n  "a": [\n    "größe",\n    null\n  ]\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_json(tmp_path, value):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, {"loss": value})
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_csv_has_unix_line_ends_and_quotes_what_needs_it(tmp_path):
    write_csv(tmp_path / "a.csv", ["name", "images"], [["a, b", 1], ["ä", 2]])
    assert (tmp_path / "a.csv").read_bytes() == 'name,images\n"a, b",1\nä,2\n'.encode()


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert content_digest({"a": 1, "b": [2.5, None]}) == content_digest({"b": [2.5, None], "a": 1})
    contents = [{}, [], {"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": [1]}, {"b": 1}, "a", None, "ä"]
    assert len({content_digest(content) for content in contents}) == len(contents)


def test_a_whole_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (events.append("fsync"), fsync(number))[1])
    monkeypatch.setattr(Path, "replace", lambda path, name: (events.append("replace"), replace(path, name))[1])
    write_json(tmp_path / "a.json", 1)
    assert events == ["fsync", "replace"]


def test_libraries_put_their_temporary_files_beside_what_is_written(tmp_path):
    before, dead = tempfile.gettempdir(), subprocess.Popen(["true"])
    dead.wait()
    left = tmp_path / f".model.{dead.pid}.work"
    left.mkdir()
    os.utime(left, (0, 0))
    with temporary_files_beside(tmp_path / "model.onnx"):
        with tempfile.TemporaryDirectory() as folder:
            assert Path(folder).is_relative_to(tmp_path)
        assert not left.exists()
    assert tempfile.gettempdir() == before
    assert names(tmp_path) == []


def test_an_old_folder_comes_back_where_the_new_one_cannot_take_its_name(tmp_path, monkeypatch):
    target = tmp_path / "set"
    target.mkdir()
    (target / "a").write_text("old")
    replace = Path.replace

    def full(path: Path, name: Path) -> Path:
        if name == target and not path.name.endswith(".before"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(path, name)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(NoRoomError), whole_folder(target) as temporary:
        (temporary / "a").write_text("new")
    assert (target / "a").read_text() == "old"
    assert names(tmp_path) == ["set"]


@pytest.mark.parametrize("write", [whole_file, whole_folder])
def test_what_a_killed_process_has_left_is_cleared_and_no_other(write, tmp_path):
    target = tmp_path / "data"
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    left, fresh, living = (tmp_path / f".data.{pid}" for pid in (dead.pid, f"{dead.pid}.before", os.getppid()))
    for path in (left, fresh, living):
        path.mkdir() if write is whole_folder else path.touch()
    for path in (left, living):
        os.utime(path, (0, 0))
    with write(target) as temporary:
        if write is whole_file:
            temporary.touch()
    assert names(tmp_path) == sorted(["data", fresh.name, living.name])
