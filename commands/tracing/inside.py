"""What a file says of itself: which model it is, or is of."""

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightline.errors import DataError, LightlineError

_HEX = r"[0-9a-f]{64}"
# As the card and the page write it: lightline/model_file/card.py, stages/report/page.html.
_IN_TEXT = re.compile(rf"Fingerprint `({_HEX})`|<dt>fingerprint</dt><dd><code>({_HEX})</code>")
_TEXTS = {".html": "page", ".md": "model card"}


@dataclass(frozen=True)
class Inside:
    """A file, read as far as it can be told what it is.

    Attributes:
        kind: in words.
        md5: of its bytes, by which DVC knows it; sha256: the same, by which a statement does.
        says: fingerprint, dataset and params, where the file holds them.
    """

    path: Path
    kind: str
    md5: str
    sha256: str
    says: dict[str, Any]

    @property
    def fingerprint(self) -> str | None:
        return self.says.get("fingerprint")


def look_inside(path: Path) -> Inside:
    """Read a file.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    if not path.is_file():
        what = "a folder; name a file in it" if path.is_dir() else "no file" if path.exists() else "not there"
        raise DataError(f"{path} is {what}.")
    try:
        md5, sha256 = (_digest(path, name) for name in ("md5", "sha256"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    kind, says = _read(path)
    return Inside(path, kind, md5, sha256, says)


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return "model file", _of_model(path)
    if suffix == ".ckpt":
        return "checkpoint", _of_checkpoint(path)
    if suffix == ".json":
        return _of_json(path.read_bytes())
    if suffix in _TEXTS:
        found = _IN_TEXT.search(path.read_text(encoding="utf-8", errors="replace"))
        return (_TEXTS[suffix], {"fingerprint": found[1] or found[2]}) if found else ("file", {})
    return "file", {}


def _of_model(path: Path) -> dict[str, Any]:
    from lightline_predict.classifier import Classifier

    with suppress(LightlineError, ValueError):  # of another maker, or damaged: its digest may be known
        metadata = Classifier(path).metadata
        return {
            "fingerprint": metadata.get("fingerprint"),
            "dataset": metadata.get("dataset"),
            "params": json.loads(metadata.get("params", "null")),
        }
    return {}


def _of_checkpoint(path: Path) -> dict[str, Any]:
    from lightline.models.checkpoint import load_checkpoint

    with suppress(LightlineError):
        read = load_checkpoint(path)
        return {"fingerprint": read.fingerprint, "dataset": read.dataset, "params": read.params}
    return {}


def _of_json(content: bytes) -> tuple[str, dict[str, Any]]:
    import base64

    with suppress(ValueError, KeyError, TypeError, RecursionError):
        read = json.loads(content)
        if "payloadType" in read:
            return "signed statement", _of_json(base64.b64decode(read["payload"]))[1]
        if "predicate" in read:
            definition = read["predicate"]["buildDefinition"]
            return "statement", {
                "fingerprint": definition["internalParameters"]["fingerprint"],
                "params": definition["externalParameters"]["training"],
            }
        if isinstance(read.get("fingerprint"), str):
            return "fingerprint", {name: read.get(name) for name in ("fingerprint", "dataset", "params")}
    return "file", {}
