"""Where training that may be killed keeps its state: under its fingerprint, outside DVC's outputs.

Found there by the workspace, `dvc exp run`, the flow's clones and a task that is tried again, since the fingerprint is
a digest of all that determines the result. What differs in anything starts afresh.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lightline.files import write_json
from lightline.runtime.locks import lock, still_has_name
from lightline.runtime.origin import records
from lightline.runtime.ranks import is_first_process
from lightline.runtime.state_store import StateStore

# Tells the other processes of a distributed run where the first one keeps it.
_VARIABLE = "LIGHTLINE_TRAINING_STATE"
_INGREDIENTS = "ingredients.json"
_SHOWN = 5  # differences told


@contextmanager
def training_folder(fingerprint: str, ingredients: dict[str, Any]) -> Iterator[Path]:
    """Hold this training's folder, which no other process has meanwhile; with a checkpoint it stays until `forget`.

    A second process of the same training waits for the first, and then finds its work done.

    ingredients: what the fingerprint is a digest of, from which a later training with another one tells what changed.
    """
    folder = Path(os.environ.get(_VARIABLE) or _training() / fingerprint)
    if not is_first_process():
        yield folder
        return
    with _locked(folder):
        if not folder.exists():
            _tell_of_another(folder, ingredients)
        write_json(folder / _INGREDIENTS, ingredients)
        os.environ[_VARIABLE] = str(folder)
        try:
            yield folder
        finally:
            del os.environ[_VARIABLE]
            if not any(folder.glob("*.ckpt")):
                shutil.rmtree(folder)


def forget(fingerprint: str, store: str | None = None) -> None:
    """Delete the state of a training whose results DVC has, unless a process works with it; store: checkpoint.store."""
    folder = _training() / fingerprint
    if folder.exists() and (held := _try(folder)):
        with held:
            shutil.rmtree(folder, ignore_errors=True)
            _lock_file(folder).unlink(missing_ok=True)
    if store is not None:
        StateStore(store, fingerprint).forget()


def _training() -> Path:
    return records() / "training"


def _lock_file(folder: Path) -> Path:
    return folder.with_suffix(".lock")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    held = _try(folder)
    if held is None:
        holder = _lock_file(folder).read_text().strip() or "unknown"
        print(f"The same training is under way in process {holder}: waiting for it, to use what it finds.", flush=True)
        while held is None:
            held = _try(folder, wait=True)
    with held:
        held.truncate(0)
        print(os.getpid(), file=held, flush=True)
        yield


def _try(folder: Path, wait: bool = False) -> IO[str] | None:
    """Take the lock, if it can be had. The kernel frees it with its holder's death, whoever has its number then."""
    file = _lock_file(folder).open("a")
    if lock(file, wait=wait) and still_has_name(file, _lock_file(folder)):  # not deleted by `forget` meanwhile
        return file
    file.close()
    return None


def _tell_of_another(folder: Path, ingredients: dict[str, Any]) -> None:
    """Say what keeps the latest unfinished training from being gone on with."""
    states = sorted(folder.parent.glob("*/step-*.ckpt"), key=lambda path: path.stat().st_mtime)
    for other in dict.fromkeys(state.parent for state in reversed(states)):
        if held := _try(other):
            held.close()
            told = differences(ingredients, json.loads((other / _INGREDIENTS).read_text()))
            print(f"starting from the beginning: unfinished training in {other} differs in {told}", flush=True)
            return


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Name the first of the keys, dotted, in which two trainings' ingredients differ; empty where none does."""
    changed = list(_differences(ours, theirs))
    return ", ".join([*changed[:_SHOWN], *(["…"] if len(changed) > _SHOWN else [])])


def _differences(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key in dict.fromkeys([*ours, *theirs]):
        mine, other = ours.get(key), theirs.get(key)
        if isinstance(mine, dict) and isinstance(other, dict):
            yield from _differences(mine, other, f"{prefix}{key}.")
        elif mine != other:
            yield f"{prefix}{key}"
