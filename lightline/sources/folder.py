"""Images in class folders on this machine."""

import os
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from lightline.errors import DataError
from lightline.files import content_digest
from lightline.runtime.digests import FileState, file_state
from lightline.sources.base import EmptyClass, GoneError, Refused, Remark, SourceImage, max_image_bytes, too_large
from lightline.sources.content_digests import digest_of_files
from lightline.sources.dvc_cache import DvcCache
from lightline.sources.layout import SplitFolders, find_layout, not_used
from lightline.sources.names import is_hidden, printable, unusable_name


class Contents(NamedTuple):
    """What is below a folder, hidden files aside, sorted by relative path."""

    files: list[FileState]
    refused: list[Refused]
    folders: list[str]

    def filled(self) -> set[str]:
        """Find the folders that hold files themselves."""
        return {file.path.rpartition("/")[0] for file in self.files}

    def empty(self) -> list[str]:
        """List the folders with no file below them."""
        paths = [file.path for file in self.files]
        return [folder for folder in self.folders if not _any_below(folder, paths)]


class Folder:
    """A folder of class folders. The files are read where they are and never changed."""

    classes = None

    def __init__(self, path: Path, max_pixels: int, split_folders: SplitFolders):
        self.path = path
        self.max_pixels = max_pixels
        self.split_folders: SplitFolders = split_folders

    @cached_property
    def _contents(self) -> Contents:
        try:
            return list_folder(self.path)
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from None

    def identity(self) -> dict[str, Any]:
        files, refused, _ = self._contents
        if not files:
            told = f"{self.path} holds no files that can be used; data.path must lead to a folder of class folders."
            raise DataError(f"{told}{not_used(refused)}") if refused else GoneError(told)
        try:
            digest = digest_of_files(self.path, files, self.path.joinpath)
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from None
        identity = {"source": "folder", "files": len(files), "sha256": digest}
        if refused:
            identity["refused"] = content_digest([[image.id, image.reason] for image in refused])
        if empty := self._contents.empty():
            identity["empty"] = content_digest([printable(folder) for folder in empty])
        return identity

    def images(self) -> Iterator[SourceImage | Refused | EmptyClass | Remark]:
        files, refused, folders = self._contents
        filled = self._contents.filled()
        layout = find_layout(filled, str(self.path), False, self.split_folders, refused)
        yield from layout.empty_classes(folders, filled)
        yield from layout.merged(filled)
        yield from refused
        for file in files:
            place = layout.place(file.path)
            if place is None:
                yield Refused(printable(file.path), layout.outside())
            elif reason := unusable_name(file.path):
                yield Refused(printable(file.path), reason)
            elif file.size > max_image_bytes(self.max_pixels):
                yield Refused(place.id, too_large(file.size, self.max_pixels))
            else:
                read = partial(_read, f"{self.path}/{file.path}")
                yield SourceImage(place.id, place.class_name, read, file.size, place.split)


def list_folder(root: Path) -> Contents:
    """List all files below a folder.

    Links are followed where they stay below the folder or lead to what DVC has put into its cache; others, and those
    that lead in circles, are refused.

    Raises:
        OSError: a folder cannot be read.
    """
    contents = Contents([], [], [])
    _collect(str(root), "", [os.path.realpath(root)], DvcCache(root), contents)
    contents.files.sort()
    contents.folders.sort()
    contents.refused.sort(key=lambda image: image.id)
    return contents


def _any_below(folder: str, paths: list[str]) -> bool:
    """Tell whether any file lies below a folder; paths: of files, sorted."""
    first = bisect_left(paths, f"{folder}/")
    return first < len(paths) and paths[first].startswith(f"{folder}/")


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def _collect(folder: str, prefix: str, above: list[str], cache: DvcCache, contents: Contents) -> None:
    """Add what is below `folder`; above: the real paths of the folders from the source's root down to it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if is_hidden(entry.name):
                continue
            real = os.path.realpath(entry.path) if entry.is_symlink() else f"{above[-1]}/{entry.name}"
            if entry.is_symlink() and (reason := _link_problem(real, above, cache)):
                contents.refused.append(Refused(printable(path), reason))
            elif entry.is_dir():
                contents.folders.append(path)
                _collect(entry.path, f"{path}/", [*above, real], cache, contents)
            elif entry.is_file():
                contents.files.append(file_state(path, entry.stat()))
            else:
                contents.refused.append(Refused(printable(path), "neither a file nor a folder"))


def _link_problem(target: str, above: list[str], cache: DvcCache) -> str | None:
    if target in above:
        return "a symbolic link to a folder that it lies in"
    if target.startswith(f"{above[0]}/"):
        return None if Path(target).exists() else "a symbolic link to nothing"
    if not cache.would_hold(target):
        return "a symbolic link that leads out of the folder; put there what it leads to"
    return None if Path(target).is_file() else "a symbolic link to what DVC's cache lacks; `dvc pull` may bring it"
