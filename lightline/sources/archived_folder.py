"""Images in class folders inside an archive, on this machine or behind a URL."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lightline.config.data import Fetch
from lightline.errors import DataError
from lightline.sources.archive import DamagedMemberError, Member, open_members
from lightline.sources.base import EmptyClass, Refused, Remark, SourceImage, max_image_bytes, too_large
from lightline.sources.content_digests import digest_of_file
from lightline.sources.hard_links import HardLinks
from lightline.sources.layout import Layout, SplitFolders, find_layout
from lightline.sources.names import is_hidden, printable, unusable_name, without_dot

_SHOWN = 3  # names in a remark
_KEPT = 10  # members that cannot be used, for a message


class _Contents:
    """What the names in an archive say together, hidden ones aside."""

    def __init__(self):
        self.folders = set[str]()
        self.filled = set[str]()  # folders that hold files themselves
        self.refused: list[Refused] = []
        self.links = HardLinks()
        self._guessed: list[str] = []

    def add(self, member: Member) -> None:
        if member.hard_link is not None:
            self.links.add(member.name, member.hard_link)
        if _is_hidden(name := without_dot(member.name)):
            return
        if member.refused:
            if len(self.refused) < _KEPT:
                self.refused.append(Refused(printable(name), member.refused))
            return
        if member.is_guess:
            self._guessed.append(name)
        (self.folders if member.is_folder else self.filled).add(name.rpartition("/")[0])

    def guessed_names(self, path: Path) -> list[Remark]:
        """Remark on names that may have been meant otherwise, if there are any."""
        if not self._guessed:
            return []
        shown = ", ".join(map(repr, self._guessed[:_SHOWN])) + ", …" * (len(self._guessed) > _SHOWN)
        return [
            Remark(
                f"{len(self._guessed)} names in {path.name} are not in UTF-8 and were read in code page 437, as zip "
                f"says: {shown}. Where that is wrong, pack the folder again with a program that writes UTF-8."
            )
        ]


class ArchivedFolder:
    """An archive of class folders on this machine. sha256: what it must have; None takes it as it is."""

    classes = None

    def __init__(self, path: Path, sha256: str | None, max_pixels: int, split_folders: SplitFolders):
        self.path = path
        self.sha256 = sha256
        self.max_pixels = max_pixels
        self.split_folders: SplitFolders = split_folders

    def identity(self) -> dict[str, Any]:
        try:
            digest = digest_of_file(self.path)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from None
        if self.sha256 not in (None, digest):
            raise DataError(
                f"{self.path} has SHA-256 {digest}, but data.sha256 = {self.sha256}. Either the file is not the one "
                "that was meant, or data.sha256 must be changed."
            )
        return {"source": "folder", "sha256": digest}

    def images(self) -> Iterator[SourceImage | Refused | EmptyClass | Remark]:
        # What a name says depends on the others, so the names are read first: a fifth of the time that follows.
        contents = _Contents()
        with open_members(self.path) as members:
            for member in members:
                contents.add(member)
        filled = contents.filled
        layout = find_layout(filled, str(self.path), True, self.split_folders, contents.refused)
        yield from layout.empty_classes(contents.folders, filled)
        yield from layout.merged(filled)
        yield from contents.guessed_names(self.path)
        with open_members(self.path, contents.links) as members:
            for member in members:
                if not member.is_folder and not _is_hidden(without_dot(member.name)):
                    yield self._image(member, layout)

    def _image(self, member: Member, layout: Layout) -> SourceImage | Refused:
        name = without_dot(member.name)
        if reason := member.refused or unusable_name(name):
            return Refused(printable(member.name), reason)
        place = layout.place(name)
        if place is None:
            return Refused(name, layout.outside())
        if member.size > max_image_bytes(self.max_pixels):
            return Refused(place.id, too_large(member.size, self.max_pixels))
        try:
            encoded = member.read()
        except DamagedMemberError as reason:
            return Refused(place.id, str(reason))
        return SourceImage(place.id, place.class_name, partial(bytes, encoded), member.size, place.split)


class RemoteFolder:
    """An archive of class folders behind a URL, downloaded once into the user's repository."""

    classes = None

    def __init__(self, url: str, sha256: str, max_pixels: int, split_folders: SplitFolders, fetch: Fetch):
        self.url = url
        self.sha256 = sha256
        self.fetch = fetch
        self.max_pixels = max_pixels
        self.split_folders: SplitFolders = split_folders

    def identity(self) -> dict[str, Any]:
        # Whatever the URL gives must have this digest before anything reads it, so nothing else identifies it.
        return {"source": "folder", "sha256": self.sha256}

    def images(self) -> Iterator[SourceImage | Refused | EmptyClass | Remark]:
        from lightline.runtime.fetch.fetch import fetch

        path = fetch([self.url], "sha256", self.sha256, self.fetch)
        yield from ArchivedFolder(path, None, self.max_pixels, self.split_folders).images()


def _is_hidden(name: str) -> bool:
    return any(map(is_hidden, name.split("/")))
