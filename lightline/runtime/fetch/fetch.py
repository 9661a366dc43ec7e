"""Download a file whose digest is known, once, into the user's repository.

Keys may be part of a URL, so messages show only its scheme, host and path.
"""

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from io import BufferedRandom
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from lightline.config.data import Fetch
from lightline.errors import LightlineError, NoRoomError, free_bytes, no_room_code
from lightline.runtime.fetch.errors import FetchError, without_secrets
from lightline.runtime.locks import lock, still_has_name
from lightline.runtime.origin import records

_PAUSES = (1, 4, 10)  # seconds before the second, third and fourth attempt
_ABANDONED = 7 * 24 * 3600  # seconds without a byte, after which nobody is expected to go on with a download
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that can pass by themselves


def fetch(
    urls: Sequence[str],
    algorithm: Literal["sha256", "md5"],
    digest: str,
    rules: Fetch,
    pauses: Sequence[float] = _PAUSES,
) -> Path:
    """Fetch the file with this digest, from the first URL (https, http or s3) that gives it; downloaded only once.

    Raises:
        FetchError: no URL gives a file, the rules forbid it, or the file has another digest.
        NoRoomError: the disk has no room for it; what came is kept, and the next attempt goes on from there.
    """
    path = records() / "downloads" / digest
    if _is_there(path, algorithm, digest):
        return path
    failures: list[FetchError] = []
    for url in urls:
        try:
            _download(url, algorithm, digest, path, rules, pauses)
        except FetchError as error:
            failures.append(error)
        else:
            return path
    raise FetchError("\n".join(map(str, failures)), any(error.may_pass for error in failures))


def _is_there(path: Path, algorithm: str, digest: str) -> bool:
    # A kept file is checked again: it lies where a person may have changed it.
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == digest


def _download(url: str, algorithm: str, digest: str, path: Path, rules: Fetch, pauses: Sequence[float]) -> None:
    shown = without_secrets(url)
    if url.startswith("http://") and not rules.allow_http:
        raise FetchError(f"{shown} was not asked: http is not encrypted, and data.fetch.allow_http = False.")
    with _unfinished(path) as file:
        if _is_there(path, algorithm, digest):  # another process was downloading it
            return
        _clear_abandoned(path.parent)
        print(f"downloading {shown}", flush=True)
        started = time.monotonic()
        is_continued = file.seek(0, os.SEEK_END) > 0
        found = _get_whole(url, algorithm, file, rules, pauses)
        if found != digest and is_continued:
            file.truncate(0)  # what an earlier attempt left may have been of another file
            found = _get_whole(url, algorithm, file, rules, pauses)
        if found != digest:
            file.truncate(0)
            raise FetchError(
                f"{shown} has {algorithm} {found}, but {digest} is expected; it was not kept. Either the file there "
                "has changed or the expected digest is wrong."
            )
        Path(file.name).replace(path)
    size = path.stat().st_size
    print(f"  {size / 1e6:.1f} MB in {time.monotonic() - started:.1f} s, {algorithm} verified", flush=True)


@contextmanager
def _unfinished(path: Path) -> Iterator[BufferedRandom]:
    """Open the part of a file that is there already, beside its final name, to be added to by this process alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    while True:
        file = part.open("ab+")
        lock(file, wait=True)
        if still_has_name(file, part):
            break
        file.close()  # who held it has finished it and moved it away
    try:
        yield file
    finally:
        if os.fstat(file.fileno()).st_size == 0:  # a finished file of no bytes has no name here any more
            part.unlink(missing_ok=True)
        with suppress(OSError):  # what a full disk did not take was told when it was written
            file.close()


def _clear_abandoned(folder: Path) -> None:
    """Delete the parts of old downloads. One that is under way is locked, and stays whatever its age."""
    for part in folder.glob(".*.part"):
        with suppress(FileNotFoundError), part.open("rb") as file:
            is_free = lock(file)
            age = time.time() - os.fstat(file.fileno()).st_mtime
            if is_free and age > _ABANDONED and still_has_name(file, part):
                part.unlink()


def _get_whole(url: str, algorithm: str, file: BufferedRandom, rules: Fetch, pauses: Sequence[float]) -> str:
    """Fill the file; gives its digest."""
    for pause in (*pauses, None):
        try:
            with _explained(without_secrets(url), Path(file.name)):
                _get(url, file, rules)
                file.flush()
                os.fsync(file.fileno())
        except FetchError as error:
            if pause is None or not error.may_pass:
                raise
            print(f"{error} Trying again in {pause} s.", file=sys.stderr, flush=True)
            time.sleep(pause)
        else:
            break
    file.seek(0)
    return hashlib.file_digest(file, algorithm).hexdigest()


def _get(url: str, file: BufferedRandom, rules: Fetch) -> None:
    # Imported here: it takes half a second that a run with the file at hand need not spend.
    if urlsplit(url).scheme == "s3":
        from lightline.runtime.fetch import s3

        s3.download(url, file, rules)
    else:
        from lightline.runtime.fetch import http

        asyncio.run(http.download(url, file, rules))


@contextmanager
def _explained(shown: str, part: Path) -> Iterator[None]:
    """Turn what the download libraries raise into sentences; their own texts may hold the whole URL."""
    import aiohttp
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except LightlineError:
        raise
    except aiohttp.ClientResponseError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise FetchError(f"{shown} does not exist (404).") from None
        passing = error.status in _PASSING
        raise FetchError(f"{shown} answered {error.status} {error.message}.", passing) from None
    except aiohttp.ClientSSLError:
        raise FetchError(f"{shown} has no certificate that this machine trusts.") from None
    except aiohttp.InvalidURL:
        raise FetchError(f"{shown} is not a URL, or leads to none.") from None
    except (aiohttp.ClientError, BotoCoreError, TimeoutError, ConnectionError) as error:
        raise FetchError(f"{shown} cannot be reached, or broke off ({type(error).__name__}).", True) from None
    except OSError as error:
        if (code := no_room_code(error)) is not None:
            size = part.stat().st_size
            raise NoRoomError(
                part, f"more than the {size} bytes that are there of {shown}", free_bytes(part), code
            ) from None
        raise _of_os(error, shown) from None


def _of_os(error: OSError, shown: str) -> FetchError:
    if error.filename:
        return FetchError(f"{shown} cannot be stored in {records()}: {error.strerror}.")
    # s3fs speaks in the terms of a file system.
    if isinstance(error, FileNotFoundError):
        return FetchError(f"{shown} does not exist (404).")
    if isinstance(error, PermissionError):
        return FetchError(f"{shown} may not be read (403); check the credentials.")
    return FetchError(f"{shown} cannot be read: {error.strerror or type(error).__name__}.", True)
