"""The members of zip and tar archives, read one by one; nothing is ever extracted."""

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from lightline.errors import DataError
from lightline.sources.hard_links import HardLinks
from lightline.sources.names import printable
from lightline.sources.zip_names import name_of
from lightline_predict.tar_entries import TarEntry

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)
_DRAIN = 2**20  # bytes read at a time behind the last member

# What no set of images needs, and what is made to take up a machine does.
_MAX_MEMBERS = 5_000_000
_MAX_RATIO, _ALWAYS_ALLOWED = 200, 2**28  # bytes unfolded a byte of the archive, once they are more than 256 MiB
_MAX_DIRECTORY = 2**29  # bytes of a zip's list of members, which is read into memory


class UnreasonableArchiveError(DataError):
    """An archive whose content would take up the machine; the message names the member."""


class DamagedMemberError(Exception):
    """One member cannot be read, which says nothing about the others; the reason, for a person."""


class Member(NamedTuple):
    """A file in an archive, or a folder, whose name ends in a slash.

    read: its bytes; only until the next member is asked for; raises DamagedMemberError.
    refused: why it cannot be used, where its entry in the archive says so.
    hard_link: the member that it is another name of; such a one holds nothing itself.
    is_guess: whether the archive leaves open how its name is encoded.
    """

    name: str
    size: int
    read: Callable[[], bytes]
    refused: str | None = None
    hard_link: str | None = None
    is_guess: bool = False

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


@contextmanager
def open_members(path: Path, links: HardLinks | None = None) -> Iterator[Iterator[Member]]:
    """Open an archive, recognised by its first bytes; gives all its files and folders, in its order.

    links: those of the archive; given them, each comes as a file, right behind the one that it is another name of.

    Raises:
        DataError: it is no archive of a known kind, damaged, or unfolds to more than can be meant.
    """
    with ExitStack() as stack:
        try:
            yield _bounded(path, _zip_members(path, stack) if _is_zip(path) else _tar_members(path, stack, links))
        except _damage() as error:
            text = f": {error}" if str(error) else ""
            raise DataError(f"{path} is damaged or no zip, tar, tar.gz or tar.zst archive{text}.") from None


def _bounded(path: Path, members: Iterator[Member]) -> Iterator[Member]:
    """Yield the members, as long as their number and what they unfold to can be meant."""
    allowed = max(_ALWAYS_ALLOWED, _MAX_RATIO * path.stat().st_size)
    unfolded = 0
    for number, member in enumerate(members, start=1):
        unfolded += member.size
        if number > _MAX_MEMBERS:
            raise UnreasonableArchiveError(
                f"{path} has more than {_MAX_MEMBERS} members; {printable(member.name)!r} is the first too many. "
                "Divide it, or give its images as a folder."
            )
        if unfolded > allowed:
            raise UnreasonableArchiveError(
                f"{path} has {path.stat().st_size} bytes and unfolds to more than {allowed} at its member "
                f"{printable(member.name)!r}, {_MAX_RATIO} times as much, which no images do. "
                "Unpack it if it is meant so, and give the folder."
            )
        yield member


def _damage() -> tuple[type[Exception], ...]:
    from zstandard import ZstdError

    return (*_DAMAGE, ZstdError)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _zip_members(path: Path, stack: ExitStack) -> Iterator[Member]:
    file = stack.enter_context(_DirectoryReader(path))
    try:
        archive = stack.enter_context(zipfile.ZipFile(file))
    except (NotImplementedError, ValueError, struct.error) as error:  # versions, names and fields that cannot be
        raise zipfile.BadZipFile(str(error)) from None
    for info in archive.infolist():
        name, is_guess = name_of(info)
        if name.endswith("/"):
            yield Member(name, 0, bytes, _unsafe(name), is_guess=is_guess)
        else:
            # Zip writers of other systems leave the Unix mode empty.
            mode = info.external_attr >> 16
            refused = _unsafe(name)
            if info.flag_bits & 1:
                refused = "it is encrypted"
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                refused = "packed in a way that Python unfolds without limit; pack the archive with deflate"
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                refused = "a link or device in the archive"
            yield Member(name, info.file_size, partial(_read_zip, archive, info), refused, is_guess=is_guess)


class _DirectoryReader(io.FileIO):
    """A zip file whose list of members is read only up to a size: zipfile takes as many bytes as the file says."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_DIRECTORY:
            raise UnreasonableArchiveError(
                f"{self.name} has a list of members of {size} bytes, more than {_MAX_DIRECTORY}. "
                "Divide it, or give its images as a folder."
            )
        return super().read(-1 if size is None else size)


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as file:
            # Not all there is: that may be any multiple of the size that the archive states.
            return file.read(info.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DamagedMemberError(f"damaged in the archive: {error}") from None


def _tar_members(path: Path, stack: ExitStack, links: HardLinks | None) -> Iterator[Member]:
    file = stack.enter_context(path.open("rb"))
    stream, mode = _decompressed(file)
    stack.callback(stream.close)
    # Names are of one encoding on every machine.
    opened = tarfile.open(fileobj=stream, mode=mode, tarinfo=TarEntry, encoding="utf-8")  # noqa: SIM115 - by stack
    archive = stack.enter_context(opened)
    given = set[str]()  # links that have come already
    while (info := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined] - else tarfile keeps a kilobyte a member
        if info.isdir():
            yield Member(f"{info.name}/", 0, bytes, _unsafe(info.name))
        elif info.islnk():
            if links is None:
                yield Member(info.name, 0, bytes, _unsafe(info.name), info.linkname)
            elif info.name not in given:
                yield Member(info.name, 0, bytes, "a hard link to nothing before it in the archive")
        else:
            others = links.of(info.name) if links else ()
            given.update(others)
            yield from _tar_file(archive, info, others)
    # The checksum of a compressed file is behind its last byte, which tarfile does not read.
    while stream.read(_DRAIN):
        pass


def _tar_file(archive: tarfile.TarFile, info: tarfile.TarInfo, others: Sequence[str]) -> Iterator[Member]:
    """Yield a member that is no folder, under its name and those that hard links give to it."""
    refused = None
    if not info.isfile():
        refused = "a link or device in the archive"
    elif info.issparse():
        refused = "a file with holes in the archive; pack it without --sparse"
    read = partial(_read_tar, archive, info)
    if others:
        read = cache(read)  # what is read from a stream comes once
    for name in (info.name, *others):
        yield Member(name, info.size, read, refused or _unsafe(name))


def _read_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    return cast(IO[bytes], archive.extractfile(info)).read()


def _decompressed(file: IO[bytes]) -> tuple[Any, Any]:
    """Open what a tar is read from, with tarfile's mode: a stream where the decompressor cannot tell its place."""
    start = file.read(6)
    file.seek(0)
    if start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file), "r:"
    if start[:4] == b"\x28\xb5\x2f\xfd":
        from zstandard import ZstdDecompressor

        return ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False), "r|"
    if start[:3] == b"BZh":
        return bz2.BZ2File(file), "r:"
    if start == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(file), "r:"
    return file, "r:"


def _unsafe(name: str) -> str | None:
    if name.startswith("/") or ".." in name.split("/"):
        return "its name leads out of the archive"
    return None
