"""Digests as DVC has them, each file read once."""

import os
from pathlib import Path

import pytest

from lightline.runtime import digests
from lightline.runtime.digests import Digests
from tests.support.workspace import Workspace


def test_files_and_folders_have_the_digests_of_dvc_lock(workspace: Workspace):
    assert workspace.run("dvc", "repro", "split")[0] == 0
    for path in ("rows", "images"):
        object_ = workspace.cached(path)
        assert Digests(workspace.path / "record").of(workspace.path / path) == object_.parent.name + object_.name


def test_a_file_just_written_is_not_trusted_to_show_its_next_change(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("one")
    known = Digests(tmp_path / "record")
    known.of(file)
    known.save()
    assert not (tmp_path / "record").exists()


def test_a_file_is_read_once_for_each_of_its_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(digests, "SETTLED_NS", -(10**12))  # as if it had been written long ago
    file, record, opened = tmp_path / "file", tmp_path / "records" / "digests.json", []
    file.write_text("one")
    original = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *rest, **named: opened.append(path) or original(path, *rest, **named)
    )

    def digest() -> str:
        known = Digests(record)
        found = known.of(file)
        known.save()
        return found

    first = [digest(), digest()]
    assert first[0] == first[1]
    assert opened.count(file) == 1
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text("two")
    os.utime(file, ns=times)  # the same size and time as before
    assert digest() != first[0]
    record.write_text("{")
    assert len(digest()) == 32
