"""Contents by DVC's digest: in its cache, or in the workspace."""

import json
import subprocess
import sys
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from commands.tracing.records import Output, Record
from lightline.errors import DataError
from lightline.runtime.digests import RECORD, Digests
from lightline.runtime.experiment_files import read_file


class Objects:
    """What lies here of what was recorded."""

    def __init__(self) -> None:
        self.digests = Digests(RECORD)

    @cached_property
    def _cache(self) -> Path:
        command = (sys.executable, "-m", "dvc", "cache", "dir")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Path(done.stdout.strip() or ".dvc/cache", "files", "md5")

    def in_cache(self, md5: str) -> Path:
        return self._cache / md5[:2] / md5[2:]

    def file(self, output: Output) -> Path | None:
        """Find the content of an output that is a file: the workspace's where it is that, else the cache's."""
        path = Path(output.path)
        if path.is_file() and self.digests.of_file(path) == output.md5:
            return path
        return cached if (cached := self.in_cache(output.md5)).is_file() else None

    def listing(self, output: Output) -> dict[str, str] | None:
        """Give the digests of the files of an output that is a folder, by their names in it."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return {entry["relpath"]: entry["md5"] for entry in json.loads(self.in_cache(output.md5).read_bytes())}
        path = Path(output.path)
        if path.is_dir() and self.digests.of(path) == output.md5:
            files = [file for file in path.rglob("*") if file.is_file()]
            return {file.relative_to(path).as_posix(): self.digests.of_file(file) for file in files}
        return None

    def folder(self, output: Output) -> dict[str, Path]:
        """Find those of the files of an output that lie here, by their names in it."""
        parts = [Output(f"{output.path}/{name}", md5) for name, md5 in (self.listing(output) or {}).items()]
        found = {part.path.removeprefix(f"{output.path}/"): self.file(part) for part in parts}
        return {name: file for name, file in found.items() if file}

    def read(self, record: Record, path: str) -> bytes | None:
        """Read a file that a record has, from here or else from DVC's remote; None where it lies in neither."""
        output = record.outputs.get(path)
        if output is None:
            return None
        if file := self.file(output):
            return file.read_bytes()
        if record.commit is None:
            return None
        with suppress(DataError):
            return read_file(record.commit, path)
        return None

    def json(self, record: Record, path: str, *, anywhere: bool = True) -> Any:
        """Read a file of JSON; None where it is not there. anywhere: look at the remote too."""
        if not anywhere:
            md5 = record.md5_of(path)
            file = self.file(Output(path, md5)) if md5 else None
            content = file.read_bytes() if file else None
        else:
            content = self.read(record, path)
        with suppress(ValueError):
            return json.loads(content or b"null")
        return None
