"""Images in zip and tar archives, read member by member; nothing is ever unpacked onto a disk."""

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, Any, cast

from lightline_predict.batching.items import InputError, Item, UnreadableError, is_hidden, printable
from lightline_predict.batching.places import LocalPlace, S3Place
from lightline_predict.tar_entries import TarEntry

_BLOCK = 512  # bytes of a tar's header
_DRAIN = 2**20  # bytes read at a time behind the last member
_IS_UTF8 = 0x800  # a zip's flag for it


class ZipInput:
    """The members of a zip archive, in its order; threads may read several at once."""

    is_stream = False

    def __init__(self, place: LocalPlace | S3Place, file: IO[bytes], stack: ExitStack):
        try:
            self._archive = stack.enter_context(zipfile.ZipFile(file))
        except InputError:  # of a network
            raise
        # Whatever zipfile stumbles over in damaged bytes.
        except Exception as error:
            raise InputError(f"{place} cannot be read as a zip archive: {error}.") from error
        self._members = [info for info in self._archive.infolist() if not info.is_dir() and not is_hidden(_name(info))]

    def items(self) -> Iterator[Item]:
        for info in self._members:
            refused = "encrypted in the archive" if info.flag_bits & 1 else None
            stamp = f"{info.file_size} {info.CRC:08x}"
            yield Item(printable(_name(info)), partial(self._read, info), info.file_size, stamp, refused)

    def _read(self, info: zipfile.ZipInfo) -> bytes:
        try:
            with self._archive.open(info) as member:
                # Not all there is: that may be any multiple of the size that the archive states.
                return member.read(info.file_size)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
            raise UnreadableError(f"damaged in the archive, or packed in an unknown way: {error}") from error

    def count(self) -> int | None:
        return len(self._members)

    def share(self) -> float | None:
        return None


def _name(info: zipfile.ZipInfo) -> str:
    """Read a member's name: macOS writes UTF-8 without saying so, which zipfile takes for code page 437."""
    if not info.flag_bits & _IS_UTF8:
        try:
            return info.filename.encode("cp437").decode()
        except UnicodeError:
            pass
    return info.filename


def tar_stream(file: IO[bytes], stack: ExitStack) -> IO[bytes] | None:
    """Open what a tar archive is read from, unpacked as it is read; None where the file is none."""
    start = file.read(_BLOCK)
    file.seek(0)
    stream: Any = file
    if start[:2] == b"\x1f\x8b":
        stream = gzip.GzipFile(fileobj=file)
    elif start[:4] == b"\x28\xb5\x2f\xfd":
        import pyarrow as pa

        stream = pa.CompressedInputStream(file, "zstd")
    elif start[:3] == b"BZh":
        stream = bz2.BZ2File(file)
    elif start[:6] == b"\xfd7zXZ\x00":
        stream = lzma.LZMAFile(file)  # noqa: SIM115 - by the stack
    elif not _is_tar(start):
        return None
    return stack.enter_context(stream) if stream is not file else file


def _is_tar(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block.ljust(_BLOCK, b"\0"), "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


class TarInput:
    """The members of a tar archive, in its order, each read as it comes by."""

    is_stream = True

    def __init__(self, place: LocalPlace | S3Place, file: IO[bytes], stream: IO[bytes]):
        self._place, self._file, self._stream, self._archive = place, file, stream, cast(Any, None)
        self._bytes = file.seek(0, 2)
        file.seek(0)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise InputError(f"{self._place} is damaged or no tar archive: {error}.") from error

    def items(self) -> Iterator[Item]:
        with self._explained():
            yield from self._members()
            # The checksum of a compressed file is behind its last byte, which tarfile does not read.
            while self._stream.read(_DRAIN):
                pass

    def _members(self) -> Iterator[Item]:
        # Names are of one encoding on every machine.
        with tarfile.open(fileobj=self._stream, mode="r|", tarinfo=TarEntry, encoding="utf-8") as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined] - else tarfile keeps a kilobyte a member
                name = info.name.removeprefix("./")
                if info.isdir() or is_hidden(name):
                    continue
                refused = None if info.isfile() and not info.issparse() else "a link, device or file with holes"
                read = partial(self._read, archive, info)
                yield Item(printable(name), read, info.size, f"{info.size} {info.mtime}", refused)

    def _read(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
        with self._explained():
            return cast(IO[bytes], archive.extractfile(info)).read()

    def count(self) -> int | None:
        return None

    def share(self) -> float | None:
        return self._file.tell() / self._bytes if self._bytes else None
