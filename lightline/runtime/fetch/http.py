"""One file over http(s), going on where an earlier attempt broke off; only from where the parameters allow."""

import ipaddress
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp

from lightline.config.data import Fetch
from lightline.errors import check_room
from lightline.runtime.fetch.errors import FetchError, too_large, without_secrets

_SILENCE = 60  # seconds without a byte before an attempt counts as failed
_CHUNK = 2**20  # bytes
_PARTIAL, _RANGE_NOT_SATISFIABLE = 206, 416


async def download(url: str, file: IO[bytes], rules: Fetch) -> None:
    """Append to `file` what it lacks of what the URL gives; where the server sends no parts, begin anew.

    Raises:
        FetchError: the rules forbid it, or the file is too large.
        NoRoomError: the disk has no room for it.
        aiohttp.ClientError, OSError: the network, the server or the disk failed.
    """
    async with _session(rules) as session:
        present = file.seek(0, os.SEEK_END)
        headers = {"Range": f"bytes={present}-"} if present else {}
        async with session.get(url, headers=headers) as response:
            if response.status == _RANGE_NOT_SATISFIABLE and present:
                file.truncate(0)
                raise FetchError(f"{without_secrets(url)} is shorter than what was there of it.", passing=True)
            response.raise_for_status()
            if not _continues(response, present):
                file.truncate(0)
            await _append(response, file, without_secrets(url), rules.max_bytes)


def _continues(response: aiohttp.ClientResponse, present: int) -> bool:
    return response.status == _PARTIAL and response.headers.get("Content-Range", "").startswith(f"bytes {present}-")


async def _append(response: aiohttp.ClientResponse, file: IO[bytes], shown: str, max_bytes: int) -> None:
    size = file.seek(0, os.SEEK_END)
    announced = response.content_length or 0
    if size + announced > max_bytes:
        raise too_large(shown, max_bytes)
    check_room(Path(file.name), announced)
    async for chunk in response.content.iter_chunked(_CHUNK):
        size += len(chunk)
        if size > max_bytes:  # the server announced no length
            file.truncate(0)
            raise too_large(shown, max_bytes)
        file.write(chunk)


def _session(rules: Fetch) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_check_redirect)
    # Without happy eyeballs, which would swallow our refusal of an address.
    options: dict[str, Any] = {} if rules.allow_private else {"socket_factory": _socket_to_the_public(_proxies())}
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(happy_eyeballs_delay=None, **options),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE),
        trust_env=True,  # proxies from the environment, passwords from ~/.netrc
        headers={"Accept-Encoding": "identity"},  # the bytes as the digest means them
        auto_decompress=False,
        trace_configs=[trace],
    )


async def _check_redirect(session: Any, context: Any, redirect: Any) -> None:
    """Refuse to be led from https to http, or to anything but the two."""
    headers, start = redirect.response.headers, redirect.url.scheme
    location = headers.get("Location") or headers.get("URI") or ""  # aiohttp follows either
    try:
        scheme = urlsplit(location).scheme
    except ValueError:
        raise FetchError(f"{without_secrets(str(redirect.url))} leads to what is not a URL.") from None
    if scheme not in ("", "https", start):
        raise FetchError(f"{without_secrets(str(redirect.url))} leads from {start} to {without_secrets(location)}.")


def _socket_to_the_public(proxies: set[str]) -> Any:
    """Make what opens aiohttp's sockets: only to addresses of the internet, and to the user's own proxies.

    Asked for every connection with the address that the name stood for, so that neither a redirect nor a name that
    leads inside can get around it.
    """

    def open_socket(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if address[0] not in proxies and not _is_public(address[0]):
            raise FetchError(
                f"The download leads to {address[0]}, an address of this machine or its network. Where that is meant, "
                "set data.fetch.allow_private=true."
            )
        return socket.socket(family, kind, protocol)

    return open_socket


def _is_public(address: str) -> bool:
    number = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(number, "ipv4_mapped", None) or getattr(number, "sixtofour", None)
    return (mapped or number).is_global and not number.is_multicast


def _proxies() -> set[str]:
    """Look up the addresses of the proxies that the environment names."""
    found = set()
    for proxy in getproxies().values():
        host = urlsplit(proxy if "://" in proxy else f"//{proxy}").hostname
        with suppress(OSError):
            found |= {str(info[4][0]) for info in socket.getaddrinfo(host, None)} if host else set()
    return found
