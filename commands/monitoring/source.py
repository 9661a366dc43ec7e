"""Whether there are new labelled data: what the source of the images is now, against what the model was trained on."""

import hashlib
from pathlib import Path
from typing import Any

import yaml

from lightline.config.load import load_params
from lightline.files import json_text
from lightline.sources import open_source, with_corrections
from lightline.sources.base import GoneError

_RECORD, _SOURCE = Path("dvc.lock"), "data/source.json"


def source_digests() -> dict[str, str | None]:
    """Give the digests of data/source.json, as DVC has them.

    now: of what the stage `source` would write; None where the source is not on this machine. trained: of what the
    workspace's dataset was made from; None where none was made yet.
    """
    return {"now": _now(), "trained": _trained()}


def _now() -> str | None:
    params = load_params()
    try:
        identity = open_source(params.data).identity()
    except GoneError:
        return None
    text = json_text(with_corrections(identity, params.data))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _trained() -> str | None:
    if not _RECORD.exists():
        return None
    stages: dict[str, Any] = (yaml.safe_load(_RECORD.read_bytes()) or {}).get("stages") or {}
    read = stages.get("download", {}).get("deps", [])
    return next((one["md5"] for one in read if one["path"] == _SOURCE), None)
