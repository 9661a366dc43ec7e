"""The page: one file that opens from disk, with its own style and script and nothing from elsewhere.

Equal findings make equal bytes. What users named (classes, files, columns) is escaped by jinja2 in the text and stands
as JSON in the data, which the script sets as text alone; the Content-Security-Policy runs this script and no other.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).parent


def render(texts: dict[str, Any], data: dict[str, Any]) -> str:
    """Write the page; texts: what the template names; data: what the script draws."""
    script = _FOLDER.joinpath("page.js").read_text(encoding="utf-8")
    # The file of this room, and JSON without a <, are ours to vouch for.
    return _rendered(_FOLDER, texts | {"script": Markup(script), "data": _json(data)}, f"script-src {_hash(script)}; ")  # noqa: S704


def render_static(folder: Path, **texts: Any) -> str:
    """Write the page of a template page.html in another folder, with the same style and no script."""
    return _rendered(folder, texts, "")


def _rendered(folder: Path, texts: dict[str, Any], scripts: str) -> str:
    environment = Environment(loader=FileSystemLoader([folder, _FOLDER]), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    style = _FOLDER.joinpath("page.css").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; {scripts}base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html").render(**texts, style=Markup(style), policy=policy)  # noqa: S704


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: Any) -> Markup:
    """Write JSON that no HTML parser takes for an end of its element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704
