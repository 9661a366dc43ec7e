"""Digests of many files, computed once and remembered as long as nothing about a file changes.

`dvc repro` asks for them every time. What is remembered lies in the user's repository, one file for each source, so
that copies of the repository share it; two runs that write it at once each write a whole one.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from lightline.files import file_digest
from lightline.runtime.digests import FileState, Memory, file_state, settled
from lightline.runtime.origin import records

_THREADS = 4  # hashing and waiting for the disk both leave Python to other threads
_FILES_PER_TASK = 128


def digest_of_file(path: Path) -> str:
    """Compute the SHA-256 of one file's bytes, remembered.

    Raises:
        OSError: it cannot be read.
    """
    return _digests([file_state("", path.stat())], lambda _: path, _memory(path))[0]


def digest_of_files(source: Path, files: Sequence[FileState], locate: Callable[[str], Path]) -> str:
    """Compute one SHA-256 over the paths and contents of files, in the order given, remembered under the source's path.

    locate: gives the file of a path.

    Raises:
        OSError: one of them cannot be read.
    """
    memory = _memory(source)
    known = memory.note
    if known.get("state") == _state(files):
        return known["digest"]
    return _content(files, _digests(files, locate, memory))


def _digests(files: Sequence[FileState], locate: Callable[[str], Path], memory: Memory) -> list[str]:
    """Return the digest of each file, from memory where nothing about it has changed."""
    digests = {file.path: digest for file in files if (digest := memory.known(file))}
    missing = [file for file in files if file.path not in digests]
    if missing:
        read_ns = time.time_ns()
        digests |= _computed(missing, locate)
        _remember(files, digests, read_ns, memory)
    return [digests[file.path] for file in files]


def _computed(files: Sequence[FileState], locate: Callable[[str], Path]) -> dict[str, str]:
    tasks = [files[start : start + _FILES_PER_TASK] for start in range(0, len(files), _FILES_PER_TASK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda task: [file_digest(locate(file.path)) for file in task], tasks)
        return dict(zip([file.path for file in files], chain.from_iterable(found), strict=True))


def _remember(files: Sequence[FileState], digests: dict[str, str], read_ns: int, memory: Memory) -> None:
    old = settled(files, read_ns)
    content = {}
    if len(old) == len(files):
        content = {"state": _state(files), "digest": _content(files, [digests[file.path] for file in files])}
    memory.write({path: [*state, digests[path]] for path, *state in old}, content)


def _memory(source: Path) -> Memory:
    name = hashlib.sha256(os.fsencode(source.resolve())).hexdigest()
    return Memory(records() / "digests" / f"{name[:32]}.json")


def _state(files: Sequence[FileState]) -> str:
    return hashlib.sha256(repr(files).encode("utf-8", "surrogatepass")).hexdigest()


def _content(files: Sequence[FileState], digests: Sequence[str]) -> str:
    lines = (f"{file.path}\0{digest}\n" for file, digest in zip(files, digests, strict=True))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
