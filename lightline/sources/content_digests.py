"""Digests of many files, computed once and remembered as long as nothing about a file changes.

`dvc repro` asks for them every time. What is remembered lies in the user's repository, one file for each source, so
that copies of the repository share it; two runs that write it at once each write a whole one.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lightline.files import file_digest, whole_file
from lightline.runtime.digests import SETTLED_NS
from lightline.runtime.origin import records

_THREADS = 4  # hashing and waiting for the disk both leave Python to other threads
_FILES_PER_TASK = 128


class FileState(NamedTuple):
    """A file and what changes with its content. path: as the source names the file, the same on every machine."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def file_state(path: str, status: os.stat_result) -> FileState:
    """Note the state of a file that `os.stat` found."""
    return FileState(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def digest_of_file(path: Path) -> str:
    """SHA-256 of one file's bytes, remembered.

    Raises:
        OSError: it cannot be read.
    """
    return _digests([file_state("", path.stat())], lambda _: path, _memory(path))[0]


def digest_of_files(source: Path, files: Sequence[FileState], locate: Callable[[str], Path]) -> str:
    """One SHA-256 over the paths and contents of files, in the order given, remembered under the source's path.

    locate: gives the file of a path.

    Raises:
        OSError: one of them cannot be read.
    """
    memory = _memory(source)
    known = _recall(memory, "content")
    if known.get("state") == _state(files):
        return known["digest"]
    return _content(files, _digests(files, locate, memory))


def _digests(files: Sequence[FileState], locate: Callable[[str], Path], memory: Path) -> list[str]:
    """Return the digest of each file, from memory where nothing about it has changed."""
    known = _recall(memory, "files")
    digests = {path: entry[-1] for path, *state in files if (entry := known.get(path)) and entry[:-1] == state}
    missing = [file for file in files if file.path not in digests]
    if missing:
        settled_before = time.time_ns() - SETTLED_NS
        digests |= _computed(missing, locate)
        _remember(files, digests, settled_before, memory)
    return [digests[file.path] for file in files]


def _computed(files: Sequence[FileState], locate: Callable[[str], Path]) -> dict[str, str]:
    tasks = [files[start : start + _FILES_PER_TASK] for start in range(0, len(files), _FILES_PER_TASK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda task: [file_digest(locate(file.path)) for file in task], tasks)
        return dict(zip([file.path for file in files], chain.from_iterable(found), strict=True))


def _remember(files: Sequence[FileState], digests: dict[str, str], settled_before: int, memory: Path) -> None:
    settled = [file for file in files if max(file.mtime_ns, file.ctime_ns) < settled_before]
    content = {}
    if len(settled) == len(files):
        content = {"state": _state(files), "digest": _content(files, [digests[file.path] for file in files])}
    entries = {path: [*state, digests[path]] for path, *state in settled}
    with whole_file(memory) as temporary:
        temporary.write_text(_line(content) + _line(entries), encoding="utf-8")


def _line(content: dict[str, Any]) -> str:
    text = json.dumps(content)
    return f"{hashlib.sha256(text.encode()).hexdigest()} {text}\n"


def _recall(memory: Path, line: Literal["content", "files"]) -> dict[str, Any]:
    """Read a line of the memory; empty where there is none or it is damaged, which only costs time."""
    try:
        with memory.open(encoding="utf-8") as file:
            first = file.readline()
            text = first if line == "content" else file.readline()
    except (OSError, UnicodeDecodeError):
        return {}
    content = text.partition(" ")[2].removesuffix("\n")
    return json.loads(content) if content and _line_is_whole(text, content) else {}


def _line_is_whole(text: str, content: str) -> bool:
    return text.startswith(hashlib.sha256(content.encode()).hexdigest())


def _memory(source: Path) -> Path:
    name = hashlib.sha256(os.fsencode(source.resolve())).hexdigest()
    return records() / "digests" / f"{name[:32]}.json"


def _state(files: Sequence[FileState]) -> str:
    return hashlib.sha256(repr(files).encode("utf-8", "surrogatepass")).hexdigest()


def _content(files: Sequence[FileState], digests: Sequence[str]) -> str:
    lines = (f"{file.path}\0{digest}\n" for file, digest in zip(files, digests, strict=True))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
