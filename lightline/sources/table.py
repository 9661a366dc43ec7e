"""A CSV or Parquet file with a row an image: path, label, and optionally split and group."""

import os
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from lightline.config.data import TableSource
from lightline.errors import DataError
from lightline.files import content_digest, file_digest
from lightline.runtime.digests import file_state
from lightline.runtime.origin import origin
from lightline.runtime.places import find_source
from lightline.runtime.tracked import explain_absence, tracked_around
from lightline.sources.base import GoneError, Refused, SourceImage, max_image_bytes, too_large
from lightline.sources.content_digests import digest_of_files
from lightline.sources.names import class_named, splits_named

_KEYS = ("path", "label", "split", "group")


class Table:
    """The images that a table lists; their paths are absolute or relative to the table."""

    classes = None

    def __init__(self, params: TableSource):
        self.params = params
        self.path = find_source(params.path)
        if not self.path.is_file():
            raise GoneError(f"data.path = {params.path!r} is no file in {origin()}.")
        here, there = self.path.absolute().parent, (origin() / Path(params.path).expanduser()).parent
        # Where a copy of the repository holds the table but not its images, they lie in the user's repository, unless
        # DVC tracks them: then those that were meant are the commit's.
        self.folders = tuple(dict.fromkeys((here, there)))
        self._tracked = tracked_around(Path.cwd())
        self._repository = f"{origin()}/"

    @cached_property
    def _columns(self) -> dict[str, list[str | None]]:
        """path, label, split and group of every row; None where the table has no value or no such column."""
        # Imported here: pyarrow takes a tenth of a second.
        from lightline.sources.table_file import read_columns

        names = [getattr(self.params, f"{key}_column") for key in _KEYS]
        found = read_columns(self.path, [name for name in names if name is not None])
        num_rows = len(found[self.params.path_column])
        return {key: found.get(name, [None] * num_rows) for key, name in zip(_KEYS, names, strict=True)}

    @cached_property
    def _splits(self) -> dict[str, str]:
        """The split that each text in the split column stands for, where it stands for one."""
        return splits_named({split for split in self._columns["split"] if split})

    def identity(self) -> dict[str, Any]:
        files, missing = [], []
        for path in sorted({path for path in self._columns["path"] if path}):
            found = self._find(path)
            if found is None:
                missing.append(path)
            else:
                files.append(file_state(path, found[1]))
        table = file_digest(self.path)
        if missing and not files:
            raise GoneError(f"None of the {len(missing)} images that {self.path} names is there.", sha256=table)
        try:
            images = digest_of_files(self.path, files, lambda path: self._find(path)[0])  # type: ignore[index]
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from None
        return {"source": "table", "sha256": table, "images": images, "missing": content_digest(missing)}

    @cached_property
    def attribute_names(self) -> list[str]:
        """Name the columns that say something else of the images."""
        from lightline.sources.table_file import column_names

        used = [getattr(self.params, f"{key}_column") for key in _KEYS]
        names = column_names(self.path, [name for name in used if name])
        return [name for name in names if name not in used and names.count(name) == 1]

    def attributes(self) -> tuple[list[str], dict[str, list[str | None]]]:
        """Read those columns, and the ids of their rows' images."""
        from lightline.sources.table_file import read_columns

        names = self.attribute_names
        found = read_columns(self.path, [self.params.path_column, *names])
        there = [row for row, path in enumerate(found[self.params.path_column]) if path]
        columns = {name: [values[row] for row in there] for name, values in found.items()}
        return columns.pop(self.params.path_column), columns  # type: ignore[return-value]

    def images(self) -> Iterator[SourceImage | Refused]:
        seen: dict[str, str | None] = {}
        for number, (path, label, split, group) in enumerate(zip(*self._columns.values(), strict=True), start=1):
            if not path:
                yield Refused(f"row {number}", f"has no {self.params.path_column}")
            elif path in seen:
                yield Refused(f"{path} (row {number})", _repeated(label, seen[path]))
            else:
                seen[path] = label
                yield self._image(path, label, split, group)

    def _image(self, path: str, label: str | None, split: str | None, group: str | None) -> SourceImage | Refused:
        if not label:
            return Refused(path, f"has no {self.params.label_column}")
        if self.params.split_column and split not in self._splits:
            found = f"has {self.params.split_column} {split!r}" if split else f"has no {self.params.split_column}"
            return Refused(path, f"{found}; allowed: train, val and test, in their usual spellings")
        found = self._find(path)
        if found is None:
            return Refused(path, self._missing(path))
        file, status = found
        if status.st_size > max_image_bytes(self.params.max_pixels):
            return Refused(path, too_large(status.st_size, self.params.max_pixels))
        split = self._splits[split] if split else None
        return SourceImage(path, class_named(label), file.read_bytes, status.st_size, split, group)

    def _missing(self, path: str) -> str:
        if "://" in path:
            return "a URL; a table names files on this machine, by their paths"
        tried = ", with its backslashes as slashes neither" if "\\" in path else ""
        return f"no such file in {self.params.path.rpartition('/')[0] or '.'}{tried}"

    def _find(self, path: str) -> tuple[Path, os.stat_result] | None:
        for spelling in _spellings(path):
            for file in self._places(spelling):
                try:
                    return file, file.stat()
                except (OSError, ValueError):  # ValueError: a zero byte in the name
                    if self._is_the_commits(file):
                        break  # and so it is not taken from elsewhere
        return None

    def _places(self, path: str) -> list[Path]:
        if path.startswith(self._repository):  # absolute, and in a copy it may be the copy's
            return [Path(path.removeprefix(self._repository)).absolute(), Path(path)]
        return [folder / path for folder in self.folders]

    def _is_the_commits(self, file: Path) -> bool:
        for each in self._tracked:
            if Path(os.path.normpath(file)).is_relative_to(each.path):
                if not os.path.lexists(each.path):
                    raise DataError(explain_absence(each))
                return True
        return False


def _spellings(path: str) -> list[str]:
    """List a path, and as it is on this machine where the table was written on Windows or a Mac, as needed."""
    with_slashes = path.replace("\\", "/")
    forms = [unicodedata.normalize(form, with_slashes) for form in ("NFC", "NFD")]
    return list(dict.fromkeys([path, with_slashes, *forms]))


def _repeated(label: str | None, first: str | None) -> str:
    if label == first:
        return "names the same image again"
    return f"names the same image again, as {label!r} and before as {first!r}"
