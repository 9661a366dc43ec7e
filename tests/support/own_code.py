"""extensions/ of a test, in its working directory."""

import sys
from pathlib import Path

import pytest

from lightline.config.extensions import _find


def write_extensions(monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    """Write extensions/KINDs/mine.py for each kind, and let this process find them and no others."""
    for kind, code in files.items():
        folder = Path("extensions", f"{kind}s")
        folder.mkdir(parents=True, exist_ok=True)
        for package in (folder, folder.parent):
            (package / "__init__.py").touch()
        (folder / "mine.py").write_text(f"from lightline.extensions import {kind}\n{code}")
    _find.cache_clear()
    monkeypatch.syspath_prepend(str(Path.cwd()))
    for name in [name for name in sys.modules if name.partition(".")[0] == "extensions"]:
        monkeypatch.delitem(sys.modules, name)
