"""Files and folders of this machine and of S3, read in one way."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import IO, Any, cast

from lightline_predict.batching.items import InputError, Item, printable
from lightline_predict.classify import files_of
from lightline_predict.modes import mode_of, why_not

S3 = "s3://"


def open_place(name: str) -> "LocalPlace | S3Place":
    """Find what an argument names.

    Raises:
        InputError: it does not exist, or what reads it is not installed.
    """
    if "://" not in name:
        return LocalPlace(Path(name))
    if not name.startswith(S3):
        raise InputError(f"{name} is of no kind that can be read: a path of this machine, or s3://BUCKET/NAME.")
    return S3Place(name)


@dataclass(frozen=True)
class LocalPlace:
    """A file or folder of this machine; without: paths that are left out of it, and what is below them."""

    path: Path
    without: tuple[Path, ...] = ()
    is_remote = False

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def is_folder(self) -> bool:
        if not (mode := mode_of(self.path)):
            raise InputError(f"{self.path} {why_not(self.path)}.")
        return stat.S_ISDIR(mode)

    def open(self) -> IO[bytes]:
        return self.path.open("rb")

    def stamp(self) -> str:
        return _stamp(self.path.stat())

    def item(self, name: str) -> Item:
        """Give the image that a name in this folder, or an absolute path, is of."""
        return _local_item(self.path / name, name)

    def items(self) -> Iterator[Item]:
        """List the folder's files in order, hidden ones left out."""
        root = self.path.resolve()
        for file in files_of(root):
            if not any(file == left or left in file.parents for left in self.without):
                yield _local_item(file, str(file.relative_to(root)))

    def beside(self) -> "LocalPlace":
        return LocalPlace(self.path.parent)


def _local_item(file: Path, name: str) -> Item:
    try:
        found = file.stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        return Item(printable(name), refused=f"cannot be read: {getattr(error, 'strerror', None) or error}")
    if not stat.S_ISREG(found.st_mode):
        return Item(printable(name), refused="a folder, pipe or device, not a file")
    return Item(printable(name), file.read_bytes, found.st_size, _stamp(found))


def _stamp(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns}"


class S3Place:
    """An object of S3, or what begins with a name and a slash; credentials and endpoint are those of AWS's settings."""

    is_remote = True

    def __init__(self, name: str):
        self.name = name
        self.path = name.removeprefix(S3).rstrip("/")
        self._system = _s3()

    def __str__(self) -> str:
        return self.name

    @cached_property
    def is_folder(self) -> bool:
        with explained(self.name):
            if not self.path.partition("/")[2]:
                self._system.ls(self.path)
                return True
            return self._system.info(self.path)["type"] == "directory"

    def open(self) -> IO[bytes]:
        with explained(self.name):
            return cast(IO[bytes], _Explained(self._system.open(self.path, "rb", cache_type="readahead"), self.name))

    def stamp(self) -> str:
        with explained(self.name):
            return _tag(self._system.info(self.path))

    def item(self, name: str) -> Item:
        path = name.removeprefix(S3) if name.startswith(S3) else f"{self.path}/{name}"
        return Item(printable(name), partial(self._read, path), is_remote=True)

    def items(self) -> Iterator[Item]:
        """List what lies under the name in order, hidden names left out; a folder's names are held at a time."""
        yield from self._below(self.path)

    def _below(self, folder: str) -> Iterator[Item]:
        with explained(self.name):
            entries = self._system.ls(folder, detail=True, refresh=True)
            self._system.invalidate_cache()
        for entry in sorted(entries, key=lambda entry: entry["name"]):
            path = entry["name"]
            if path.rstrip("/") == folder or path.rsplit("/", 1)[-1].startswith("."):
                continue  # the folder's own mark, and hidden names
            if entry["type"] == "directory":
                yield from self._below(path)
            else:
                name = path.removeprefix(f"{self.path}/")
                yield Item(printable(name), partial(self._read, path), entry["size"], _tag(entry), is_remote=True)

    def _read(self, path: str) -> bytes:
        try:
            return self._system.cat_file(path)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # of the network, in whichever library's class
            raise InputError(_broken_off(f"{S3}{path}", error)) from error

    def beside(self) -> "S3Place":
        return S3Place(self.name.rpartition("/")[0])


class _Explained(io.RawIOBase):
    """An object that is read part by part, whose errors name its address."""

    def __init__(self, file: Any, name: str):
        self._file, self._name = file, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with explained(self._name):
            return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


@cache
def _s3() -> Any:
    try:
        import botocore.session
        import fsspec

        # Public buckets need no credentials, and refuse wrong ones.
        anonymous = botocore.session.Session().get_credentials() is None
        return fsspec.filesystem("s3", anon=anonymous, skip_instance_cache=True)
    except ImportError as error:
        raise InputError('s3:// is read through s3fs: pip install "lightline-predict[batch,s3]".') from error


def _tag(entry: dict[str, Any]) -> str:
    return f"{entry.get('size')} {entry.get('ETag', '')}"


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what S3's libraries raise into a sentence that names the address."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist.") from error
    except PermissionError as error:
        raise InputError(f"{name} may not be read with the credentials of AWS's settings.") from error
    except Exception as error:  # of the network, in whichever library's class
        raise InputError(_broken_off(name, error)) from error


def _broken_off(name: str, error: Exception) -> str:
    return f"{name} cannot be read now: {error}. The same command goes on where it stopped."
