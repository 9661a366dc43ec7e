"""What is refused, and before it costs anything."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

from lightline_predict.serve.options import Limits


class Refused(Exception):  # noqa: N818 (an answer, not a fault of this program)
    """A request that gets no answer: its HTTP status, and why, for a person."""

    def __init__(self, status: int, sentence: str, **headers: str):
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


class Admission:
    """How many requests are being answered, and how many bytes they hold.

    Attributes:
        requests: now.
        held: bytes of bodies and pixels, now.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.requests = 0
        self.held = 0

    @contextmanager
    def enter(self) -> Iterator["Share"]:
        """Let a request in, until the end of the block.

        Raises:
            Refused: 429, there are too many already.
        """
        if self.requests >= self.limits.requests:
            raise _full(f"{self.requests} requests are being answered")
        share = Share(self)
        self.requests += 1
        try:
            yield share
        finally:
            self.requests -= 1
            self.held -= share.held


class Share:
    """The bytes that one request holds."""

    def __init__(self, admission: Admission):
        self.admission = admission
        self.held = 0

    def take(self, size: int) -> None:
        """Count bytes that the request holds from now on.

        Raises:
            Refused: 429, all together hold too many.
        """
        if self.admission.held + size > self.admission.limits.held:
            raise _full("the images that are being answered fill the memory that they may have")
        self.admission.held += size
        self.held += size


async def read_body(request: Request, share: Share) -> bytes:
    """Read a request's body, and no more of it than is allowed.

    Raises:
        Refused: 411 or 413, or 429 where memory for it is lacking.
    """
    most = share.admission.limits.body
    said = request.headers.get("content-length")
    if said is not None and int(said) > most:  # digits: the HTTP parser has seen to it
        raise _too_large(most)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise _too_large(most)
            share.take(len(chunk))
            chunks.append(chunk)
    except ClientDisconnect:
        raise Refused(400, "The connection ended before the body did.") from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(most: int) -> Refused:
    return Refused(413, f"The body is larger than {most / 2**20:g} MiB (--max-body); send fewer or smaller images.")


def _full(why: str) -> Refused:
    return Refused(429, f"Too busy: {why}; try again in a second.", **{"retry-after": "1"})
