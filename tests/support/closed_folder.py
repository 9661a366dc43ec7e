"""A folder that nobody may enter: root, as whom tests may run, is let in everywhere."""

import os
from pathlib import Path

import pytest


def close_folder(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Refuse to look at whatever has this folder in its path."""
    stat = Path.stat

    def closed(self: Path, **options: bool) -> os.stat_result:
        if name in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", closed)
