"""Download a file whose digest is known, once, into the user's repository.

Keys may be part of a URL, so messages show only its scheme, host and path.
"""

import errno
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from lightline.errors import DataError
from lightline.files import whole_file
from lightline.origin import records

_PAUSES = (1, 4, 10)  # seconds before the second, third and fourth attempt
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that can pass by themselves
_SILENCE = 60  # seconds without a byte before an attempt counts as failed


class FetchError(DataError):
    """A file cannot be downloaded. `passing`: whether another attempt may succeed."""

    def __init__(self, message: str, passing: bool = False):
        super().__init__(message)
        self.may_pass = passing


def fetch(
    urls: Sequence[str], algorithm: Literal["sha256", "md5"], digest: str, pauses: Sequence[float] = _PAUSES
) -> Path:
    """The file with this digest, from the first URL (http, https or s3) that gives it; downloaded only once.

    Raises:
        FetchError: no URL gives a file, or the file has another digest.
    """
    path = records() / "downloads" / digest
    # A kept file is checked again: it lies where a person may have changed it.
    if path.is_file() and _digest(path, algorithm) == digest:
        return path
    failures: list[str] = []
    for url in urls:
        try:
            _download(url, algorithm, digest, path, pauses)
        except FetchError as error:
            failures.append(str(error))
        else:
            return path
    raise FetchError("\n".join(failures))


def without_secrets(url: str) -> str:
    """Scheme, host, port and path: neither user nor password, neither query nor fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _download(url: str, algorithm: str, digest: str, path: Path, pauses: Sequence[float]) -> None:
    shown = without_secrets(url)
    print(f"downloading {shown}", flush=True)
    started = time.monotonic()
    with whole_file(path) as temporary:
        _with_retries(url, temporary, pauses)
        found = _digest(temporary, algorithm)
        if found != digest:
            raise FetchError(
                f"{shown} has {algorithm} {found}, but {digest} is expected; it was not kept. Either the file there "
                "has changed or the expected digest is wrong."
            )
        size = temporary.stat().st_size
    print(f"  {size / 1e6:.1f} MB in {time.monotonic() - started:.1f} s, {algorithm} verified", flush=True)


def _with_retries(url: str, path: Path, pauses: Sequence[float]) -> None:
    for pause in (*pauses, None):
        try:
            with _told(without_secrets(url)):
                _get(url, path)
        except FetchError as error:
            if pause is None or not error.may_pass:
                raise
            print(f"{error} Trying again in {pause} s.", file=sys.stderr, flush=True)
            time.sleep(pause)
        else:
            return


def _get(url: str, path: Path) -> None:
    # Imported here: it takes half a second that a run with the file at hand need not spend.
    import fsspec

    scheme = urlsplit(url).scheme
    options = _s3_options() if scheme == "s3" else _http_options()
    # A file system of its own: shared ones keep connections that are of no use after this file.
    fsspec.filesystem(scheme, skip_instance_cache=True, **options).get_file(url, str(path))


def _http_options() -> dict[str, Any]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
    # trust_env: proxies from the environment, passwords from ~/.netrc. identity: the bytes as the digest means them.
    client = {"timeout": timeout, "trust_env": True, "headers": {"Accept-Encoding": "identity"}}
    return {"client_kwargs": client, "get_client": _client}


async def _client(**options: Any) -> Any:
    """aiohttp's session, refusing to be led from https to http."""
    import aiohttp

    async def check_redirect(session: Any, context: Any, redirect: Any) -> None:
        location = redirect.response.headers.get("Location", "")
        if redirect.url.scheme == "https" and urlsplit(location).scheme not in ("", "https"):
            raise FetchError(f"{without_secrets(str(redirect.url))} leads from https to {without_secrets(location)}.")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(check_redirect)
    return aiohttp.ClientSession(trace_configs=[trace], **options)


def _s3_options() -> dict[str, Any]:
    import botocore.session

    # Public buckets need no credentials, and refuse wrong ones.
    return {"anon": botocore.session.Session().get_credentials() is None}


@contextmanager
def _told(shown: str) -> Iterator[None]:
    """Turn what the download libraries raise into sentences; their own texts may hold the whole URL."""
    import aiohttp
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except FetchError:
        raise
    except aiohttp.ClientResponseError as error:
        passing = error.status in _PASSING
        raise FetchError(f"{shown} answered {error.status} {error.message}.", passing) from None
    except aiohttp.ClientSSLError:
        raise FetchError(f"{shown} has no certificate that this machine trusts.") from None
    except aiohttp.InvalidURL:
        raise FetchError(f"{shown} is not a URL.") from None
    except (aiohttp.ClientError, BotoCoreError, TimeoutError, ConnectionError) as error:
        raise FetchError(f"{shown} cannot be reached, or broke off ({type(error).__name__}).", True) from None
    except OSError as error:
        raise _of_os(error, shown) from None


def _of_os(error: OSError, shown: str) -> FetchError:
    if error.filename or error.errno == errno.ENOSPC:
        return FetchError(f"{shown} cannot be stored in {records()}: {error.strerror}.")
    # s3fs speaks in the terms of a file system.
    if isinstance(error, FileNotFoundError):
        return FetchError(f"{shown} does not exist (404).")
    if isinstance(error, PermissionError):
        return FetchError(f"{shown} may not be read (403); check the credentials.")
    return FetchError(f"{shown} cannot be read: {error.strerror or type(error).__name__}.", True)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
