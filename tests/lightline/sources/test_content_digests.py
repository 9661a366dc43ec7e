"""Digests are remembered, and a change is never missed for it."""

import os
import time
from pathlib import Path

import pytest

from lightline.runtime import digests as memories
from lightline.runtime.digests import file_state
from lightline.sources import content_digests as digests
from lightline.sources.content_digests import digest_of_file, digest_of_files

LONG_AGO = time.time_ns() - 3600 * 10**9


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files whose content was read."""
    names: list[str] = []

    def counted(path: Path) -> str:
        names.append(path.name)
        return real(path)

    real = digests.file_digest
    monkeypatch.setattr(digests, "file_digest", counted)
    return names


@pytest.fixture
def settled(monkeypatch):
    """Take files that were just written for old ones; the change time cannot be set back."""
    monkeypatch.setattr(memories, "SETTLED_NS", -(10**12))


def folder_digest(folder=Path("raw")) -> str:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [file_state(path.relative_to(folder).as_posix(), path.stat()) for path in paths]
    return digest_of_files(folder, files, folder.joinpath)


@pytest.mark.usefixtures("settled")
def test_unchanged_files_are_read_once(write, hashed):
    write(Path("raw"), ["a", "b", "c"])
    first = folder_digest()
    assert sorted(hashed) == ["a", "b", "c"]
    hashed.clear()
    assert folder_digest() == first
    assert hashed == []


@pytest.mark.usefixtures("settled")
def test_only_what_changed_is_read_again(write, hashed):
    write(Path("raw"), ["a", "b", "c"])
    first = folder_digest()
    hashed.clear()
    write(Path("raw"), {"b": b"another"})
    assert folder_digest() != first
    assert hashed == ["b"]


@pytest.mark.usefixtures("settled")
def test_a_change_that_keeps_size_and_modification_time_is_noticed(write):
    write(Path("raw"), {"a": b"one", "b": b"two"})
    first = folder_digest()
    times = Path("raw/a").stat().st_atime_ns, Path("raw/a").stat().st_mtime_ns
    time.sleep(0.02)  # the clock tick of the file system
    Path("raw/a").write_bytes(b"ONE")
    os.utime("raw/a", ns=times)
    assert folder_digest() != first


def test_files_just_written_are_read_every_time(write, hashed):
    write(Path("raw"), ["a"])
    folder_digest()
    folder_digest()
    assert hashed == ["a", "a"]


@pytest.mark.usefixtures("settled")
def test_renaming_adding_and_removing_change_the_digest(write):
    write(Path("raw"), ["a", "b"])
    found = [folder_digest()]
    Path("raw/b").rename("raw/c")
    found.append(folder_digest())
    write(Path("raw"), ["d"])
    found.append(folder_digest())
    Path("raw/a").unlink()
    found.append(folder_digest())
    assert len(set(found)) == 4


@pytest.mark.usefixtures("settled")
def test_the_digest_is_of_content_and_paths_alone(write, tmp_path):
    write(Path("raw"), ["a", "b/c"])
    write(tmp_path / "elsewhere", ["a", "b/c"])
    os.utime("raw/a", ns=(LONG_AGO, LONG_AGO))
    assert folder_digest() == folder_digest(tmp_path / "elsewhere")


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(("old", "new"), [(b"", b"\xff"), (b"{", b""), (b"[", b""), (b'"a"', b'"A"'), (b"1", b"2")])
def test_a_damaged_memory_only_costs_time(write, repository, tmp_path, old, new):
    write(Path("raw"), ["a", "b"])
    first = folder_digest()
    (memory,) = (repository / ".lightline/digests").iterdir()
    whole = memory.read_bytes()
    memory.write_bytes(whole.replace(old, new))
    assert folder_digest() == first
    memory.write_bytes(whole.replace(old, new))
    for folder in (Path("raw"), tmp_path / "elsewhere"):
        write(folder, ["a", "b", "c"])
    assert folder_digest() == folder_digest(tmp_path / "elsewhere")


@pytest.mark.usefixtures("settled")
def test_the_digest_of_one_file_is_the_files_own(write, hashed):
    write(Path("raw"), {"a": b"content"})
    expected = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert digest_of_file(Path("raw/a")) == expected
    assert digest_of_file(Path("raw/a").absolute()) == expected
    assert hashed == ["a"]
