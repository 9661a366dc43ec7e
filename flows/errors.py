"""What can go wrong in a flow run, told apart by what helps: mending it, waiting, or reading the stage's output."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from lightline.errors import LightlineError
from lightline.redaction import redacted

TEMPORARY_STATUS = 75  # EX_TEMPFAIL: how a stage that could not reach something ends, so that it is tried again

_NETWORK_ERRORS = {
    "ConnectionError",  # Python's, requests' and botocore's
    "TimeoutError",
    "gaierror",
    "ClientConnectionError",  # aiohttp's
    "EndpointConnectionError",  # botocore's
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "LockError",  # DVC's
}
_NETWORK_WORDS = re.compile(
    r"could not resolve|failed to connect|could not connect|network is unreachable|timed out|timeout"
    r"|connection (refused|reset|closed)|early eof|rpc failed|returned error: 5\d\d"
    r"|cannot lock ref|unable to create '.*\.lock'",
    re.IGNORECASE,
)


class RequestError(LightlineError):
    """What a person asked for and cannot have; trying again does not help."""


class UnavailableError(LightlineError):
    """What may be there in a minute: a network, a lock. Worth trying again."""


class StageError(LightlineError):
    """A stage's command ended with an error."""


class Fault(NamedTuple):
    """An error that crosses from one process to another."""

    kind: Literal["mistake", "unavailable", "stage", "bug"]
    message: str

    def error(self) -> LightlineError:
        kinds = {"mistake": RequestError, "unavailable": UnavailableError, "stage": StageError}
        return kinds.get(self.kind, LightlineError)(self.message)


def describe(error: BaseException) -> Fault:
    """Tell the kind of an error and its message, without the passwords that addresses can hold."""
    causes = list(_causes(error))
    for cause in causes:
        if type(cause).__name__ == "StageCmdFailedError":
            return _stage_fault(str(cause))
        if "LightlineError" in _names(cause):
            kind = "unavailable" if "UnavailableError" in _names(cause) else "mistake"
            return Fault(kind, redacted(str(cause)))
    message = redacted(": ".join(dict.fromkeys(filter(None, map(str, causes)))))
    if any(_NETWORK_ERRORS & _names(cause) for cause in causes) or _NETWORK_WORDS.search(message):
        return Fault("unavailable", message)
    if "DvcException" in _names(error):
        # Seen where two runs saved one stage's outputs into one cache in the same instant: DVC then misses one of them.
        was_taken = any("FileNotFoundError" in _names(cause) for cause in causes)
        return Fault("unavailable" if was_taken else "mistake", message)
    return Fault("bug", f"{type(error).__name__}: {message}")


def is_temporary(message: str) -> bool:
    """Tell whether a program's error message speaks of a network or a lock."""
    return bool(_NETWORK_WORDS.search(message))


def _stage_fault(message: str) -> Fault:
    status = re.search(r"exited with (-?\d+)$", message)
    temporary = status is not None and int(status[1]) == TEMPORARY_STATUS
    return Fault("unavailable" if temporary else "stage", message)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _names(error: BaseException) -> set[str]:
    # By name: the clone's lightline is not this one, and the libraries' errors need not be imported to be known.
    return {kind.__name__ for kind in type(error).__mro__}
