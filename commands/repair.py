"""Mend what a kill or a bad disk left in DVC's files, or say which command does.

Nothing that a person has made is changed, and nothing at all while another process works here.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from lightline.errors import LightlineError
from lightline.files import whole_file
from lightline.redaction import redacted
from lightline.runtime.commits import git
from lightline.runtime.digests import RECORD, Digests
from lightline.runtime.dvc_cache import VerifiedCache, is_lock
from lightline.runtime.locks import lock
from lightline.runtime.supervision import BusyError, occupy_folder

_TMP, _LOCK = Path(".dvc", "tmp"), Path("dvc.lock")
_RWLOCK = _TMP / "rwlock"


def main(arguments: Sequence[str]) -> int:
    """Print what was mended and what is to be done; gives the exit status."""
    argparse.ArgumentParser(prog="python -m lightline repair", description=__doc__).parse_args(arguments)
    try:
        _refuse_beside_others()
        told = [*_mend_rwlock(), *_mend_lock(), *_look_at_head(), *_look_at_params(), *_look_at_shell(), *_mend_cache()]
    except LightlineError as error:
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        return 1
    print("\n".join(told) if told else "Nothing to mend.")
    return 0


def _refuse_beside_others() -> None:
    if not _TMP.parent.is_dir():
        raise LightlineError(f"{Path.cwd()} is no DVC repository; run this in the folder that has .dvc/.")
    occupy_folder()
    for entry in _entries(_read_rwlock() or {}):
        if _works(entry):
            raise BusyError(f"DVC works here: process {entry['pid']}, `{entry['cmd']}`. Wait until it has ended.")
    _TMP.mkdir(exist_ok=True)
    with _TMP.joinpath("lock").open("a+") as file:  # DVC holds it while no stage runs, and writes its pid into it
        if not lock(file):
            file.seek(0)
            raise BusyError(f"DVC works here: process {file.read().strip()}. Wait until it has ended.")


def _mend_rwlock() -> Iterator[str]:
    """Remove DVC's list of who reads and writes what: nobody does, as has been found out."""
    held = _read_rwlock()
    if held is None:
        yield f"{_RWLOCK} was damaged, and has been removed."
    elif entries := list(_entries(held)):
        pids = ", ".join(sorted({str(entry["pid"]) for entry in entries}))
        yield f"{_RWLOCK} named processes that are gone or other ones by now ({pids}), and has been removed."
    else:
        return
    _RWLOCK.unlink()


def _read_rwlock() -> dict[str, Any] | None:
    """Read DVC's list of who reads and writes what; None where it is damaged."""
    from dvc.rwlock import SCHEMA
    from voluptuous import Invalid

    check: Any = SCHEMA
    try:
        return check(json.loads(_RWLOCK.read_bytes()))
    except FileNotFoundError:
        return {}
    except (ValueError, Invalid):
        return None


def _entries(held: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from held.get("write", {}).values()
    for readers in held.get("read", {}).values():
        yield from readers


def _works(entry: dict[str, Any]) -> bool:
    """Tell whether the process that wrote an entry lives; one that was given its number since is another."""
    try:
        process = psutil.Process(entry["pid"])
        is_older = process.create_time() <= _RWLOCK.stat().st_mtime + 1
        return is_older and " ".join(process.cmdline()).endswith(entry["cmd"].partition(" ")[2])
    except psutil.Error:
        return False


def _mend_lock() -> Iterator[str]:
    if not _LOCK.exists() or is_lock(_LOCK.read_bytes()):
        return
    shown = subprocess.run(("git", "show", f"HEAD:./{_LOCK}"), capture_output=True, check=False)
    if shown.returncode == 0 and is_lock(shown.stdout):
        with whole_file(_LOCK) as temporary:
            temporary.write_bytes(shown.stdout)
        yield f"{_LOCK} was damaged, and is the last commit's again. `dvc repro` finds what ran since in the cache."
    else:
        _LOCK.unlink()
        yield f"{_LOCK} was damaged, and has been removed. `dvc repro` finds what ran in the cache and writes it anew."


def _look_at_head() -> Iterator[str]:
    """Tell of a HEAD without a branch: DVC takes it off while it makes an experiment, and a kill leaves it so."""
    if git("symbolic-ref", "--quiet", "HEAD") is not None:
        return
    branch, has_begun = _branch_dvc_left()
    if branch is None:
        return
    told = f"HEAD is on no branch since a `dvc exp run` was killed: `git checkout {branch}` goes back to it"
    if git("rev-parse", f"refs/heads/{branch}") == git("rev-parse", "HEAD"):
        told += ", takes along what has changed in the files, and `git reset` then unstages what DVC has staged."
    else:
        told += "; what was committed since then is kept if `git branch NAME` comes first."
    if not has_begun and git("rev-parse", "--verify", "--quiet", "refs/stash"):
        told += " DVC had what was not committed before in `git stash list`; `git stash pop` then brings it back."
    yield told


def _branch_dvc_left() -> tuple[str | None, bool]:
    """Find the branch that DVC took HEAD from, as git's log of HEAD tells it, and whether the experiment had begun."""
    log = [*(git("reflog", "--format=%gs", "HEAD") or "").splitlines(), ""]
    for line, before in pairwise(log):
        moved = re.fullmatch(r"checkout: moving from (.+) to (.+)", line)
        if moved is None or re.fullmatch("[0-9a-f]{40,}", moved[1]):
            continue
        # A person writes a commit out seldom, and has come back since where HEAD is on a branch.
        is_dvc = re.fullmatch("[0-9a-f]{40,}", moved[2]) and git("rev-parse", "--verify", f"refs/heads/{moved[1]}")
        return moved[1] if is_dvc else None, before == f"dvc: Restore HEAD to '{moved[1]}'"
    return None, False


def _look_at_params() -> Iterator[str]:
    check = Path("tools", "params.py")
    if not check.exists():
        return
    done = subprocess.run((sys.executable, check, "--check"), capture_output=True, check=False)
    if done.returncode or done.stdout:  # wrong in what would be committed, or in the file alone
        yield (
            "params.yaml is not what conf/ composes to. That is as it should be after `dvc exp run -S` and `dvc exp "
            "apply`; after one that was killed, `make params` takes its changes back."
        )


def _look_at_shell() -> Iterator[str]:
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        works = subprocess.run((shell, "-c", "exit 0"), capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    if not works:
        yield f"DVC runs stages with $SHELL, and {shell} runs nothing: `export SHELL=/bin/sh` before `dvc repro`."


def _mend_cache() -> Iterator[str]:
    """Mend damaged objects, and the copies of them that DVC has put into the workspace."""
    from dvc.repo import Repo

    repo: Any = Repo()
    told: list[str] = []
    digests = Digests(RECORD)
    missing = VerifiedCache(repo, digests, told.append).look_at()
    yield from told
    for output in repo.index.outs:
        path = Path(output.fs_path)
        if not output.hash_info or not output.use_cache:
            continue
        is_whole = path.exists() and digests.of(path) == output.hash_info.value
        if is_whole and output in missing:
            output.save()
            output.commit()
            yield f"{output} is whole here, and has been put back into the cache."
        elif path.exists() and not is_whole and not output.changed_checksum():
            output.remove()  # DVC holds it for what is recorded; what a person has changed it knows to be changed
            repo.checkout([output.fs_path], allow_missing=True)
            again = "brought back from the cache" if path.exists() else "removed: `dvc repro` makes it again"
            yield f"{output} was damaged, and has been {again}."
    digests.save()
