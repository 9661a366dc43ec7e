"""The members of zip and tar archives, read one by one; nothing is ever extracted."""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from lightline.errors import DataError

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)
_DRAIN = 2**20  # bytes read at a time behind the last member


class DamagedMemberError(Exception):
    """One member cannot be read, which says nothing about the others; the reason, for a person."""


class Member(NamedTuple):
    """A file in an archive.

    read: its bytes; only until the next member is asked for; raises DamagedMemberError.
    refused: why it cannot be used, where its entry in the archive says so.
    """

    name: str
    size: int
    read: Callable[[], bytes]
    refused: str | None = None


@contextmanager
def open_members(path: Path) -> Iterator[Iterator[Member]]:
    """All files of an archive, in its order, recognised by its first bytes.

    Raises:
        DataError: it is no archive of a known kind, or damaged.
    """
    with ExitStack() as stack:
        try:
            yield _zip_members(path, stack) if _is_zip(path) else _tar_members(path, stack)
        except _damage() as error:
            text = f": {error}" if str(error) else ""
            raise DataError(f"{path} is damaged or no zip, tar, tar.gz or tar.zst archive{text}.") from None


def _damage() -> tuple[type[Exception], ...]:
    from zstandard import ZstdError

    return (*_DAMAGE, ZstdError)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _zip_members(path: Path, stack: ExitStack) -> Iterator[Member]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    for info in archive.infolist():
        if not info.is_dir():
            # Zip writers of other systems leave the Unix mode empty.
            mode = info.external_attr >> 16
            refused = _unsafe(info.filename)
            if info.flag_bits & 1:
                refused = "it is encrypted"
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                refused = "a link or device in the archive"
            yield Member(info.filename, info.file_size, partial(_read_zip, archive, info), refused)


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    # NotImplementedError: a compression this Python lacks.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise DamagedMemberError(f"damaged in the archive: {error}") from None


def _tar_members(path: Path, stack: ExitStack) -> Iterator[Member]:
    file = stack.enter_context(path.open("rb"))
    stream, mode = _decompressed(file)
    stack.callback(stream.close)
    archive = stack.enter_context(tarfile.open(fileobj=stream, mode=mode))  # noqa: SIM115 - the stack closes it
    while (info := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined] - else tarfile keeps a kilobyte a member
        if not info.isdir():
            refused = _unsafe(info.name)
            if not info.isfile():
                refused = "a link or device in the archive"
            yield Member(info.name, info.size, partial(_read_tar, archive, info), refused)
    # The checksum of a compressed file is behind its last byte, which tarfile does not read.
    while stream.read(_DRAIN):
        pass


def _read_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    return cast(IO[bytes], archive.extractfile(info)).read()


def _decompressed(file: IO[bytes]) -> tuple[Any, Any]:
    """What the tar archive is read from, and tarfile's mode: a stream where the decompressor cannot tell its place."""
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
