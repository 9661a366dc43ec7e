"""Images in class folders inside an archive, on this machine or behind a URL."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lightline.errors import DataError
from lightline.params_data import Fetch
from lightline.sources.archive import DamagedMemberError, Member, open_members
from lightline.sources.base import EmptyClass, Refused, SourceImage, max_image_bytes, too_large
from lightline.sources.digests import digest_of_file
from lightline.sources.layout import Layout, find_layout
from lightline.sources.names import is_hidden, printable, unusable_name


class ArchivedFolder:
    """An archive of class folders on this machine. sha256: what it must have; None takes it as it is."""

    classes = None

    def __init__(self, path: Path, sha256: str | None, max_pixels: int):
        self.path = path
        self.sha256 = sha256
        self.max_pixels = max_pixels

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

    def images(self) -> Iterator[SourceImage | Refused | EmptyClass]:
        # What a name says depends on the others, so the names are read first: a fifth of the time that follows.
        folders, filled = set[str](), set[str]()
        with open_members(self.path) as members:
            for member in members:
                if not member.refused and not _is_hidden(name := _clean(member.name)):
                    (folders if member.is_folder else filled).add(name.rpartition("/")[0])
        layout = find_layout(filled, str(self.path), unwrap=True)
        yield from layout.empty_classes(folders, filled)
        with open_members(self.path) as members:
            for member in members:
                if not member.is_folder and not _is_hidden(_clean(member.name)):
                    yield self._image(member, layout)

    def _image(self, member: Member, layout: Layout) -> SourceImage | Refused:
        name = _clean(member.name)
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

    def __init__(self, url: str, sha256: str, max_pixels: int, fetch: Fetch):
        self.url = url
        self.sha256 = sha256
        self.fetch = fetch
        self.max_pixels = max_pixels

    def identity(self) -> dict[str, Any]:
        # Whatever the URL gives must have this digest before anything reads it, so nothing else identifies it.
        return {"source": "folder", "sha256": self.sha256}

    def images(self) -> Iterator[SourceImage | Refused | EmptyClass]:
        from lightline.sources.fetch import fetch

        path = fetch([self.url], "sha256", self.sha256, self.fetch)
        yield from ArchivedFolder(path, None, self.max_pixels).images()


def _clean(name: str) -> str:
    return name.removeprefix("./")


def _is_hidden(name: str) -> bool:
    return any(map(is_hidden, name.split("/")))
