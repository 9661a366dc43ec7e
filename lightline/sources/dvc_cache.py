"""DVC's cache, into which symbolic links lead where `dvc config cache.type symlink` is set."""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

# DVC 3's place of a file below the cache's folder, and DVC 2's: called by the MD5 of what is in it.
_OBJECT = re.compile(r"/(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}")


class DvcCache:
    """The cache of the DVC repository that a folder lies in, and of the one that this process works in."""

    def __init__(self, folder: Path):
        self._folder = folder

    def would_hold(self, path: str) -> bool:
        """Tell whether a real path is one of a file that DVC keeps, there or not."""
        return any(path.startswith(cache) and _OBJECT.fullmatch(path, len(cache)) for cache in self._caches)

    @cached_property
    def _caches(self) -> set[str]:
        """The real paths of the caches' folders. Looked for only where a link leads out: DVC takes time to load."""
        from dvc.config import Config, ConfigError

        caches = set()
        for repository in {_repository_of(self._folder.absolute()), _repository_of(Path.cwd())} - {None}:
            own = f"{repository}/.dvc"
            try:
                config: Any = Config(own)
            except ConfigError:  # which DVC itself tells, where it is used
                continue
            caches.add(os.path.realpath(config["cache"].get("dir") or f"{own}/cache"))
        return caches


def _repository_of(folder: Path) -> Path | None:
    return next((path for path in (folder, *folder.parents) if (path / ".dvc" / "config").is_file()), None)
