"""MD5 digests, by which DVC knows content; a file that nobody has touched since is not read a second time."""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

RECORD = Path(".lightline", "digests.json")  # in a repository
# A file changed within the file system's clock tick keeps its times, so the digest of one just written is not trusted.
SETTLED_NS = 2 * 10**9


class Digests:
    """Digests of files and folders, with a record of those that are known.

    A file is known as long as its inode, its size and the times of its last changes are the same.

    record: a JSON file; one that is damaged or missing costs time and no more.
    """

    def __init__(self, record: Path):
        self._record = record
        self._known: dict[str, list] = {}
        self._changed = False
        with suppress(OSError, ValueError):
            self._known = json.loads(record.read_bytes())

    def of(self, path: Path) -> str:
        """As DVC has it in dvc.lock: of a file its bytes, of a folder the list of its files."""
        if not path.is_dir():
            return self.of_file(path)
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
        listed = [{"md5": self.of_file(files[name]), "relpath": name} for name in sorted(files)]
        return f"{_md5(json.dumps(listed, sort_keys=True).encode())}.dir"

    def of_file(self, path: Path) -> str:
        """Of a file's bytes."""
        name, state = str(path.absolute()), path.stat()
        stamp = [state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
        known = self._known.get(name)
        if known and known[:-1] == stamp:
            return known[-1]
        is_settled = max(state.st_mtime_ns, state.st_ctime_ns) < time.time_ns() - SETTLED_NS
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, _md5_object).hexdigest()
        if is_settled:
            self._known[name], self._changed = [*stamp, digest], True
        return digest

    def save(self) -> None:
        """Write what is known to the record."""
        if not self._changed:
            return
        known = {name: entry for name, entry in self._known.items() if Path(name).exists()}
        temporary = self._record.with_suffix(f".{os.getpid()}")
        self._record.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(self._record)
        self._changed = False


def _md5_object():
    return hashlib.md5(usedforsecurity=False)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
