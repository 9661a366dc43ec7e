"""What a source of images gives to the download stage."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from lightline.errors import DataError


@dataclass(frozen=True)
class SourceImage:
    """One image as the source has it, not yet decoded.

    id: unique within the source, the same on every machine; a relative path where there is one.
    read: gives the encoded bytes, in any format; called once, in any process, so it can be
        pickled; raises OSError.
    num_bytes: about what it holds in memory until it is read and checked.
    split: train, val or test where the source says so.
    """

    id: str
    class_name: str
    read: Callable[[], bytes]
    num_bytes: int
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Refused:
    """Something in the source that is no usable image, as the source already knows without decoding it."""

    id: str
    reason: str


@dataclass(frozen=True)
class EmptyClass:
    """A class of which the source has a folder and no file."""

    class_name: str


@dataclass(frozen=True)
class Remark:
    """Something about the source that a person should know and that stops nothing, in a sentence or two."""

    text: str


class GoneError(DataError):
    """The source is not on this machine.

    what: says so in a sentence; known: what of its identity is known nonetheless.
    """

    def __init__(self, what: str, **known: Any):
        super().__init__(f"{what} Put the images there, or set data.path to where they are.")
        self.what, self.known = what, known


class ImageSource(Protocol):
    """A source of images."""

    def identity(self) -> dict[str, Any]:
        """Give plain JSON that changes if and only if the source's content does: no paths of this machine, no times.

        Asked for by every `dvc repro`, so it must be quick and needs no network.

        Raises:
            GoneError: the source is not there.
            DataError: it cannot be read.
        """
        ...

    def images(self) -> Iterator[SourceImage | Refused | EmptyClass | Remark]:
        """Yield all images, the classes without any, and what else to say, in an order that is the same every time.

        Raises:
            DataError: the source cannot be read as a whole.
        """
        ...

    @property
    def classes(self) -> Sequence[str] | None:
        """The class names in output order; None where they are those that occur, sorted."""
        ...


@runtime_checkable
class DescribesImages(Protocol):
    """A source that says more of its images than class, split and group: a table by its other columns.

    attribute_names: what it says, before any image is read.
    """

    attribute_names: list[str]

    def attributes(self) -> tuple[Sequence[str], Mapping[str, Sequence[str | None]]]:
        """Give ids of images, and by name a text or None for each of them."""
        ...


def max_image_bytes(max_pixels: int) -> int:
    """Return the most bytes that a file worth reading as an image of max_pixels has: 8 a pixel and 1 MiB around."""
    return 8 * max_pixels + 2**20


def too_large(num_bytes: int, max_pixels: int) -> str:
    """Give the reason for refusing a file above `max_image_bytes`."""
    return f"{num_bytes} bytes are more than an image of data.max_pixels = {max_pixels} can take"
