"""A disk of the test's own that is full but for some bytes, and what a command leaves on it.

The disk is a tmpfs in a mount namespace of the command's own: it needs no rights where the system lets users have such
namespaces, nothing else sees it, and it goes with the last process.
"""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support import ROOT

_NAMESPACES = (("unshare", "--user", "--map-root-user", "--mount"), ("unshare", "--mount"))  # users may, or root may
_SIZE = 64 * 2**20  # bytes
_FILLER = ".filler"


@dataclass(frozen=True)
class Outcome:
    """How a command ended on a small disk; before, after: the digest of each file by its path."""

    status: int
    stdout: str
    stderr: str
    before: dict[str, str]
    after: dict[str, str]


@cache
def namespace() -> tuple[str, ...] | None:
    """What a command begins with that may mount disks which nothing else sees; None where the system allows none."""
    if shutil.which("unshare") is None:  # another system than Linux
        return None
    with tempfile.TemporaryDirectory() as folder:
        works = [way for way in _NAMESPACES if _runs(*way, "mount", "-t", "tmpfs", "tmpfs", folder)]
    return works[0] if works else None


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """The system refuses larger files, as a full disk would refuse any."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run_on_small_disk(content: Path, disk: Path, free: int, *command: str, **variables: str) -> Outcome:
    """Run a command in a copy of `content` on a disk at `disk` that has `free` bytes left; skips where none can be had.

    variables: added to the environment.
    """
    if (begin := namespace()) is None:
        pytest.skip("the system lets nobody mount a small disk here")
    disk.mkdir()
    done = subprocess.run(
        [*begin, sys.executable, __file__, str(content), str(disk), str(free), *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Outcome(**json.loads(done.stdout))


def _digests() -> dict[str, str]:
    files = [path for path in Path().rglob("*") if path.is_file() and not {_FILLER, ".lightline"} & {*path.parts}]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def _main(content: str, disk: str, free: str, *command: str) -> None:
    """Inside the namespace: mount and fill the disk, run the command, print the outcome as JSON."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", disk], check=True)
    shutil.copytree(content, disk, dirs_exist_ok=True)
    os.chdir(disk)
    with Path(_FILLER).open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(disk).free - int(free))
    before = _digests()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(json.dumps(vars(Outcome(done.returncode, done.stdout, done.stderr, before, _digests()))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
