"""Digests of files, computed once and remembered as long as nothing about a file changes; by MD5 DVC knows content."""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from lightline.files import whole_file

RECORD = Path(".lightline", "digests.json")  # in a repository
# A file changed within the file system's clock tick keeps its times, so the digest of one just written is not trusted.
SETTLED_NS = 2 * 10**9


class FileState(NamedTuple):
    """A file and what changes with its content; path: as who asks names the file."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def file_state(path: str, status: os.stat_result) -> FileState:
    """Note the state of a file that `os.stat` found."""
    return FileState(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def settled(files: Iterable[FileState], read_ns: int) -> list[FileState]:
    """Choose those that had not just been written when they were read, at a time since 1970."""
    return [file for file in files if max(file.mtime_ns, file.ctime_ns) < read_ns - SETTLED_NS]


class Memory:
    """Digests of files as they were, in a file of two lines: a note of who keeps them, read alone, and the digests.

    Each line begins with its own SHA-256: one that is damaged or missing costs time and no more.
    """

    def __init__(self, record: Path):
        self._record = record

    @property
    def note(self) -> dict[str, Any]:
        return self._line(0)

    @cached_property
    def entries(self) -> dict[str, list[Any]]:
        """Of each path the rest of its state, and its digest."""
        return self._line(1)

    def known(self, file: FileState) -> str | None:
        """Give the digest of a file of which nothing has changed."""
        entry = self.entries.get(file.path)
        return entry[-1] if entry and entry[:-1] == list(file[1:]) else None

    def write(self, entries: dict[str, list[Any]], note: dict[str, Any]) -> None:
        """Replace all that is remembered."""
        lines = map(json.dumps, (note, entries))
        with whole_file(self._record) as temporary:
            temporary.write_text("".join(f"{_sha256(line)} {line}\n" for line in lines), encoding="utf-8")
        self.entries = entries

    def _line(self, number: int) -> dict[str, Any]:
        try:
            with self._record.open(encoding="utf-8") as file:
                for _ in range(number):
                    file.readline()
                digest, _, line = file.readline().removesuffix("\n").partition(" ")
        except (OSError, UnicodeDecodeError):
            return {}
        return json.loads(line) if digest == _sha256(line) else {}


class Digests:
    """MD5 digests of files and folders, with a record of those that are known."""

    def __init__(self, record: Path):
        self._memory = Memory(record)
        self._has_learned = False

    def of(self, path: Path) -> str:
        """Compute it as DVC has it in dvc.lock: of a file its bytes, of a folder the list of its files."""
        if not path.is_dir():
            return self.of_file(path)
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
        listed = [{"md5": self.of_file(files[name]), "relpath": name} for name in sorted(files)]
        return f"{_md5(json.dumps(listed, sort_keys=True).encode())}.dir"

    def of_file(self, path: Path) -> str:
        """Compute it of a file's bytes."""
        state = file_state(str(path.absolute()), path.stat())
        if known := self._memory.known(state):
            return known
        is_settled = settled([state], time.time_ns())
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, _md5_object).hexdigest()
        if is_settled:
            self._memory.entries[state.path], self._has_learned = [*state[1:], digest], True
        return digest

    def save(self) -> None:
        """Write what is known to the record."""
        if self._has_learned:
            entries = self._memory.entries.items()
            self._memory.write({name: entry for name, entry in entries if Path(name).exists()}, {})
            self._has_learned = False


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _md5_object():
    return hashlib.md5(usedforsecurity=False)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
