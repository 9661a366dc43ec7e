"""Ctrl-C and SIGTERM while a command loads its libraries: an end with a word, not a traceback through their imports.

An exception would also get lost there: what runs inside C code or a destructor swallows it.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

INTERRUPTED = 130  # exit status, as a shell has it after Ctrl-C
_BROKEN_PIPE = 141  # the same, of what a broken pipe ends

# Whom a signal belongs to that nobody has taken: one that is ignored (`nohup`, a shell's background job) stays so.
_PYTHONS: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


def end_at_once() -> None:
    """End this process, from now on, without a traceback where it is interrupted: nothing has begun that needs one.

    To be called before the large imports.
    """
    for number, handler in _PYTHONS.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, _end)


def end_in_order() -> None:
    """Interrupt this process, from now on, as Python does: work has begun that must be left in order."""
    for number, handler in _PYTHONS.items():
        if signal.getsignal(number) is _end:
            signal.signal(number, handler)


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Do a command's work and exit with the status that it gives."""
    try:
        end_in_order()
        status = main()
        print(end="", flush=True)  # sys.stdout is None where who started this has closed it
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = INTERRUPTED
    except BrokenPipeError:  # who read it (`| head`) has enough; Python would find that out once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = _BROKEN_PIPE
    sys.exit(status)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    with suppress(Exception):  # it may be in the middle of writing to it, or be closed
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(128 + number)  # as a shell has it


# While Python looks for the module of `python -m`, it says so: this is the first code of ours that then runs.
if sys.argv[:1] == ["-m"]:
    end_at_once()
