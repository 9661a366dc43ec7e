"""The Prefect server that a run from a terminal starts, and ends, where there is none to use."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flows.errors import UnavailableError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

# For the temporary server alone; one that the user runs has its own settings.
_SETTINGS = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
}


def configure() -> None:
    """Set how the server runs, before Prefect loads; what the user has set stays."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def use_own_database(file: Path) -> str:
    """Have the server keep its runs in a file, before Prefect loads, unless the user has chosen where; gives where."""
    url = f"sqlite+aiosqlite:///{file}"
    return os.environ.setdefault("PREFECT_SERVER_DATABASE_CONNECTION_URL", url)


def start() -> None:
    """Start the temporary server, if there is to be one, and keep Ctrl-C from it.

    Not inside of asyncio, where Prefect would do it: an interruption would wait there until the server answers. A
    terminal sends Ctrl-C to all processes in its foreground. Prefect starts its server as one of them: it would end
    first, and the flow would ask a dead server for a minute how to end.
    """
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value():
        return
    from prefect.server.api import server

    class InOwnSession(subprocess.Popen[Any]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, start_new_session=True, preexec_fn=end_with_parent, **options)

    server.__dict__["subprocess"] = SimpleNamespace(**{**vars(subprocess), "Popen": InOwnSession})
    server.SubprocessASGIServer().start()


def end_with_parent() -> None:
    """Have the kernel end a new process when the one that starts it is killed; where it can, which is on Linux.

    For the main thread: it is that thread's end that counts.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def address() -> str | None:
    """Give the API's address of the temporary server, for other processes; None where the user's own is used."""
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL

    return None if PREFECT_API_URL.value() else SubprocessASGIServer().api_url


@contextmanager
def explained() -> Iterator[None]:
    """Say what to do about a server that does not answer.

    Raises:
        UnavailableError: it does not.
    """
    try:
        yield
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        raise UnavailableError(
            f"The Prefect server at {str(error).rpartition(' ')[2]} does not answer. Start it with `prefect server "
            "start`, or leave PREFECT_API_URL unset and the profile without one: then a temporary server is started."
        ) from None
