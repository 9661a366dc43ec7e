"""In front of all routes: who may ask, what every answer carries, what is counted; errors become JSON."""

import hmac
import logging
import re
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightline_predict.serve.limits import Refused
from lightline_predict.serve.metrics import Metrics
from lightline_predict.serve.options import is_loopback

_logger = logging.getLogger("lightline_predict.serve")
_OPEN = {"/", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"}  # say nothing of anybody's images
_PORT = re.compile(r":\d+$")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
_NOTHING = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Gate:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, token: str | None):
        self._app = app
        self._bearer = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"] = [*message.get("headers", ()), *_HEADERS]
                if not any(name == _NOTHING[0] for name, _ in headers):
                    headers.append(_NOTHING)
            await send(message)

        scope["app"] = self  # else the router answers 404 and 405 in its own way
        try:
            self._check(scope)
            await self._app(scope, receive, sending)
        except Refused as error:
            await _error(error.status, error.sentence, error.headers)(scope, receive, sending)
        except HTTPException as error:
            sentence = f"{scope['method']} {scope['path'][:200]}: {error.detail}; docs/serving.md lists the addresses."
            await _error(error.status_code, sentence, dict(error.headers or {}))(scope, receive, sending)
        except Exception:
            _logger.exception("%s %s failed", scope["method"], scope["path"][:200])
            if status:
                raise
            sentence = "The server failed; its log says why."
            await _error(500, sentence)(scope, receive, sending)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        if scope["path"] in _OPEN:
            return
        if self._bearer is not None:
            given = _header(scope, b"authorization")
            if not hmac.compare_digest(given, self._bearer):
                why = "This server asks for a token: Authorization: Bearer TOKEN."
                raise Refused(401, why, **{"www-authenticate": "Bearer"})
            return
        # Without a token, a page elsewhere whose name was made to lead here must not read the answers.
        host = _header(scope, b"host").decode("latin-1")
        if not is_loopback(_PORT.sub("", host).strip("[]")):
            raise Refused(421, "This server answers to localhost alone; behind a proxy give it a token (--token-file).")

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        metrics: Metrics = scope["state"]["service"].metrics
        route = getattr(scope.get("endpoint"), "__name__", "none")
        metrics.requests.labels(route, str(status)).inc()
        metrics.seconds.labels(route).observe(seconds)


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


def _error(status: int, sentence: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    return JSONResponse({"error": sentence}, status, headers)
