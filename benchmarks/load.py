"""Ask a server over and over on connections that stay open: `load.py PORT PATH BODY CONNECTIONS SECONDS`.

A process of its own without other modules, on plain sockets: a few microseconds a request, so that the server is what
limits. BODY: a file of application/json. Prints JSON: requests a second, milliseconds at the 50th and 99th
percentile, and how many had another status than 200.
"""

import json
import selectors
import socket
import sys
import time


class Connection:
    """One connection, with one request on its way."""

    def __init__(self, port: int, request: bytes):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = request
        self.ask()

    def ask(self) -> None:
        self.received, self.length = b"", None
        self.sent = time.perf_counter()
        self.socket.sendall(self.request)

    def answer(self) -> tuple[float, bool] | None:
        """Read what has come; once it is whole, give its seconds and whether it is an answer."""
        chunk = self.socket.recv(2**16)
        if not chunk:
            raise ConnectionError("the server hung up")
        self.received += chunk
        if self.length is None:
            head, between, _ = self.received.partition(b"\r\n\r\n")
            if not between:
                return None
            said = head.lower().partition(b"content-length:")[2]
            self.length = len(head) + 4 + int(said.partition(b"\r\n")[0])
        if len(self.received) < self.length:
            return None
        return time.perf_counter() - self.sent, self.received.startswith(b"HTTP/1.1 200")


def load(port: int, path: str, body: bytes, connections: int, seconds: float) -> dict[str, float]:
    """Ask for some seconds, on so many connections."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        connection = Connection(port, request)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    took, failed, started = [], 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for key, _ in selector.select(1):
            if (answered := key.data.answer()) is not None:
                took.append(answered[0])
                failed += not answered[1]
                key.data.ask()
    wall = time.perf_counter() - started
    waited = sorted(took) or [wall]  # where not one came, each took longer than that
    at = {share: waited[min(int(share * len(waited)), len(waited) - 1)] * 1000 for share in (0.5, 0.99)}
    return {"answered": len(took), "per_second": len(took) / wall, "p50": at[0.5], "p99": at[0.99], "failed": failed}


if __name__ == "__main__":
    port, path, body, connections, seconds = sys.argv[1:]
    with open(body, "rb") as file:  # noqa: PTH123 (pathlib takes longer to import than all else here)
        print(json.dumps(load(int(port), path, file.read(), int(connections), float(seconds))))
