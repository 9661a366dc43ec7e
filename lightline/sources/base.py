"""What a source of images gives to the download stage."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class SourceImage:
    """One image as the source has it, not yet decoded.

    id: unique within the source, the same on every machine; a relative path where there is one.
    read: gives the encoded bytes, in any format; called once, from any thread.
    split: train, val or test where the source says so.
    """

    id: str
    class_name: str
    read: Callable[[], bytes]
    split: str | None = None
    group: str | None = None


class ImageSource(Protocol):
    """A source of images."""

    def identity(self) -> dict[str, Any]:
        """Plain JSON that changes when the source's content does, and only then: no paths of this machine, no times.

        Asked for by every `dvc repro`, so it must be quick and needs no network.

        Raises:
            DataError: the source is not there.
        """
        ...

    def images(self) -> Iterator[SourceImage]:
        """All images, in an order that is the same every time.

        Raises:
            DataError: the source cannot be read as a whole.
        """
        ...

    @property
    def classes(self) -> Sequence[str] | None:
        """The class names in output order; None where they are those that occur, sorted."""
        ...
