"""What a run refuses before Prefect or DVC see it: keys in what is asked for, and a server that is open to others."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from flows.errors import RequestError
from lightline.redaction import names_secret, secret_in


def refuse_keys(overrides: list[str], repo: str) -> None:
    """Refuse keys in what Prefect, DVC and W&B would keep.

    Raises:
        RequestError: an override or the repository's address holds a key; the message does not repeat it.
    """
    for override in overrides:
        name, _, value = override.partition("=")
        if kind := "what looks like a key" if names_secret(name) and value else secret_in(override):
            raise RequestError(
                f"The override of {name.lstrip('+~')} holds {kind}, and would be kept by Prefect, DVC and W&B. "
                "Take it out: keys for downloads belong into ~/.netrc or AWS's own settings, W&B's into WANDB_API_KEY."
            )
    if kind := secret_in(repo):
        raise RequestError(
            f"repo holds {kind}, and would be kept by Prefect. Take it out: git has credential helpers and ssh for it."
        )


async def refuse_open_server() -> None:
    """Refuse a Prefect server that is open to the network.

    Raises:
        RequestError: whoever reaches Prefect's server over the network may have this machine run any code.
    """
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL

    address = PREFECT_API_URL.value()
    if not address:
        return  # a temporary server, on 127.0.0.1
    url = urlsplit(address)
    knows_a_key = bool(PREFECT_API_AUTH_STRING.value() or PREFECT_API_KEY.value())
    if url.scheme == "https" or (knows_a_key and not _is_loopback(url.hostname)):
        return
    if not _is_loopback(url.hostname):
        raise RequestError(
            f"The Prefect server at {url.hostname} is neither on this machine nor behind https or a password. {_REMEDY}"
        )
    if (listens := _listens_widely(url.port or 80)) and await _answers_anyone(address):
        raise RequestError(
            f"The Prefect server on port {url.port} listens on {listens} and asks for no password. {_REMEDY}"
        )


_REMEDY = (
    "Whoever reaches it can have this machine run any code. Start it with `prefect server start --host 127.0.0.1`, or "
    "set PREFECT_SERVER_API_AUTH_STRING for it and PREFECT_API_AUTH_STRING here; docs/prefect.md says more."
)


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _listens_widely(port: int) -> str | None:
    """Find the address, other than this machine's own, on which something here accepts connections to a port."""
    import psutil

    try:
        sockets: list[Any] = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS shows them to root alone
        return None
    listening = (each for each in sockets if each.status == psutil.CONN_LISTEN)
    found = (each.laddr.ip for each in listening if each.laddr.port == port)
    return next((address for address in found if not _is_loopback(address)), None)


async def _answers_anyone(address: str) -> bool:
    """Tell whether the server's interface can be used without a password."""
    answer = await ask_server(address, "admin/version")
    return answer is not None and answer.is_success  # without any, the run will say that the server cannot be reached


async def ask_server(address: str, path: str) -> Any:
    """Send Prefect's server a plain request, without passwords or retries; return httpx's answer, None without one."""
    import httpx

    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        try:
            return await client.get(f"{address.rstrip('/')}/{path}")
        except httpx.HTTPError:
            return None
