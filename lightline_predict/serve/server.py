"""The process: its socket, its signals, its connections."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from lightline_predict.classify import files_of
from lightline_predict.serve.app import make_app
from lightline_predict.serve.champion import FileSource, GitSource
from lightline_predict.serve.options import OptionError, Options
from lightline_predict.serve.reload import Current
from lightline_predict.serve.service import Service

if TYPE_CHECKING:
    from lightline_predict.serve.request_log import RequestLog

_HEAD = 2**16  # bytes of a request's headers
_BACKLOG = 2048
_LINGER = 0.2  # seconds after the signal in which what was sent before it still arrives
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def serve(options: Options) -> int:
    """Answer until SIGTERM or Ctrl-C; gives 0 once all that came is answered.

    Raises:
        LightlineError: the model, the address, the log or the examples are not to be had.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # of malformed requests it would tell each
    log = None if options.log is None else _open_log(options.log)
    examples = [] if options.examples is None else _read(options.examples)
    if options.model is not None:
        source = FileSource(options.model)
    else:
        assert options.git is not None
        source = GitSource(options.git, options.artifact, options.stage)
    current = Current(source, options.threads, examples)
    most = _allow_connections(options.limits.connections)
    protocol = type("Protocol", (Connection,), {"seconds": options.limits.seconds, "most": most})
    with _listen(options.host, options.port) as listening:
        server = Server(options, current, log, protocol)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"model {current.model.fingerprint[:16]} answers at http://{shown}:{port}", flush=True)
        server.run(sockets=[listening])
    return 0


class Server(uvicorn.Server):
    """uvicorn's, which ends with status 0 when it is told to end, and answers first."""

    def __init__(self, options: Options, current: Current, log: "RequestLog | None", protocol: type[asyncio.Protocol]):
        self._current = current
        self._service: Service | None = None
        super().__init__(
            uvicorn.Config(
                make_app(options, current, log, self._take),
                http=protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=int(options.limits.seconds) + 5,
            )
        )

    def _take(self, service: Service) -> None:
        self._service = service
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._current.look_now.set)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals, and not, as uvicorn does, raise them again at the end: that would be no status 0."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that nothing more is wanted, answer what has come, and end."""
        if self._service is not None:
            self._service.draining = True
        await asyncio.sleep(_LINGER)
        await super().shutdown(sockets)


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's, with an end to headers that come slowly, never, or without end, and to too many connections.

    Attributes:
        seconds: from a connection's, or a request's, first byte to the end of its headers.
        most: connections open at once.
    """

    seconds: float
    most: int
    connections: set[Any]  # this one and those below are uvicorn's, by either of its HTTP parsers
    cycle: Any
    loop: asyncio.AbstractEventLoop
    transport: Any
    _deadline: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._set_deadline()
        if len(self.connections) > self.most:
            transport.write(_FULL)
            transport.close()

    def data_received(self, data: bytes) -> None:
        before = self._reads_head()
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._head += len(data) if before and self._reads_head() else 0
            self._set_deadline()
            if self._head > _HEAD:
                self.transport.abort()
        elif self._deadline is not None:
            self._forget_deadline()

    def on_message_complete(self) -> None:
        """Note, by httptools' parser, that a body has ended: uvicorn does not, where it was answered before."""
        if self.cycle is not None:
            self.cycle.more_body = False
        super().on_message_complete()  # pyright: ignore[reportAttributeAccessIssue]

    def _reads_head(self) -> bool:
        """Tell whether what comes is a head: it may be the rest of a body that was answered before its end."""
        return self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _set_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.seconds, self._end)

    def _forget_deadline(self) -> None:
        self._head = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self.transport.abort()


def _read(folder: Path) -> list[bytes]:
    try:
        return [path.read_bytes() for path in files_of(folder)]
    except OSError as error:
        raise OptionError(f"--examples {folder}: {error.filename} cannot be read: {error.strerror}.") from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"--host {host} --port {port}: {str(error).rstrip('.')}; another --port, or 0 for any free one."
        ) from error


def _allow_connections(wanted: int) -> int:
    """Ask for as many open files as the system allows; gives the connections that leave some for all else."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if allowed == resource.RLIM_INFINITY else max(1, min(wanted, allowed - 100))


def _open_log(folder: Path) -> "RequestLog":
    try:
        from lightline_predict.serve.request_log import RequestLog
    except ModuleNotFoundError as error:
        raise OptionError(f"--log needs {error.name}: `pip install 'lightline-predict[serve-log]'`.") from error
    return RequestLog(folder)
