"""A server on 127.0.0.1 that answers as it is told, and what a test asks of it."""

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lightline.runtime.fetch.fetch import fetch
from tests.support.source_settings import RULES

CONTENT = bytes(range(256)) * 40_000  # 10 MB: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers every request with the next of `answers`; the last one for all that follow.

    An answer: a status and the body, or None as the body to break off in the middle of CONTENT.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, bytes | None]] = [(200, CONTENT)]
        self.requests: list[str] = []
        self.headers: dict[str, str] = {}
        self.authorizations: list[str | None] = []
        self.ranges: list[str | None] = []
        self.sends_parts = False

    def handle_error(self, request, client_address):
        """A client that refuses to go on hangs up, as it should."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        self.server.requests.append(self.path)
        self.server.authorizations.append(self.headers["Authorization"])
        self.server.ranges.append(self.headers["Range"])
        status, body = self.server.answers[0]
        if len(self.server.answers) > 1:
            del self.server.answers[0]
        if self.server.sends_parts and status == 200 and body and self.headers["Range"]:
            self.send_part(body, int(self.headers["Range"].removeprefix("bytes=").rstrip("-")))
            return
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in self.server.headers:
            self.send_header("Content-Length", str(len(CONTENT if body is None else body)))
        self.end_headers()
        self.wfile.write(CONTENT[:5_000_000] if body is None else body)
        self.close_connection = True

    def send_part(self, body: bytes, start: int) -> None:
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:])
        self.close_connection = True

    def log_message(self, *_):
        pass


def kept(repository: Path) -> list[str]:
    return [path.name for path in (repository / ".lightline/downloads").iterdir()]


def get(url: str, digest: str = SHA256) -> Path:
    return fetch([url], "sha256", digest, RULES, pauses=(0, 0))
