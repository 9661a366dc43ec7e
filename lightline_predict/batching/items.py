"""One image of an input, before it is read."""

from collections.abc import Callable
from typing import NamedTuple

from lightline_predict.errors import LightlineError


class InputError(LightlineError):
    """The input is missing, damaged or of no known kind, or what reads it is not installed."""


class UnreadableError(Exception):
    """The reason why one image's bytes cannot be had, for a person."""


class Item(NamedTuple):
    """An image by its id.

    read: its encoded bytes; may raise OSError, or UnreadableError with a reason.
    size: of these in bytes, as far as it is known before.
    stamp: what tells this version of it from another, as far as the input says.
    refused: why it is not read.
    is_remote: whether reading it is waiting for a network.
    """

    id: str
    read: Callable[[], bytes] = bytes
    size: int = 0
    stamp: str = ""
    refused: str | None = None
    is_remote: bool = False


def printable(name: str) -> str:
    """Write a name as valid UTF-8, whatever bytes it holds."""
    return name.encode("utf-8", "backslashreplace").decode()


def is_hidden(name: str) -> bool:
    """Tell whether a part of a member's path is hidden, or macOS's own; `..` is not: nothing is unpacked there."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))
