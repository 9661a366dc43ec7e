"""What a stage reads, held to what dvc.lock says the stage before it wrote.

DVC restores an object of its cache without reading it: one that was damaged on the disk would be trained on.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from lightline.errors import LightlineError
from lightline.runtime.digests import RECORD, Digests
from lightline.runtime.dvc_cache import cache_folder

_PIPELINE, _LOCK = Path("dvc.yaml"), Path("dvc.lock")


class DamagedError(LightlineError):
    """A file is not what it was when DVC recorded it."""


def check_inputs() -> None:
    """Check what the stage that DVC runs reads of other stages. One that is run by hand may read what it finds.

    Raises:
        DamagedError: a file has another content; the message says how to get the right one.
    """
    stage = os.environ.get("DVC_STAGE")
    if stage is None or not _LOCK.exists():
        return
    written = _written()
    digests = Digests(RECORD)
    for path in _deps(stage):
        if path in written and Path(path).exists():
            producer, digest = written[path]
            if digests.of(Path(path)) != digest:
                raise DamagedError(_explain(path, producer, digest, digests))
    digests.save()


def _written() -> dict[str, tuple[str, str]]:
    """Find for each output that is recorded the stage that wrote it, and its digest."""
    stages = (_load(_LOCK).get("stages") or {}).items()
    return {out["path"]: (name, out["md5"]) for name, stage in stages for out in stage.get("outs", ()) if "md5" in out}


def _deps(stage: str) -> list[str]:
    entry = _load(_PIPELINE)["stages"][stage.partition("@")[0]]
    return [path for path in entry.get("do", entry).get("deps", ()) if isinstance(path, str)]


def _load(path: Path) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
    return yaml.load(path.read_bytes(), loader) or {}  # noqa: S506 (both are safe)


def _explain(path: str, producer: str, digest: str, digests: Digests) -> str:
    told = f"{path} is not what stage {producer!r} wrote"
    if damaged := _damaged_object(digest, digests):
        return (
            f"{told}: DVC has restored it from its cache, and there {damaged} is damaged. `make repair` takes that out "
            "and fetches it from the remote where there is one; then run the same command again: what could not be "
            "fetched is made anew."
        )
    return (
        f"{told}. `rm -r {path} && dvc checkout {path}` brings that back; `dvc commit --force {producer}` takes what "
        "is there now for the stage's output. Then run the same command again."
    )


def _damaged_object(digest: str, digests: Digests) -> Path | None:
    """Find the object in DVC's cache that is not what its name says, of those an output consists of."""
    cache = cache_folder()
    names = [digest]
    if digest.endswith(".dir"):
        with suppress(OSError, ValueError):  # a damaged list is found below
            names += [entry["md5"] for entry in json.loads((cache / digest[:2] / digest[2:]).read_bytes())]
    for name in names:
        file = cache / name[:2] / name[2:]
        if file.exists() and digests.of_file(file) != name.removesuffix(".dir"):
            return file
    return None
