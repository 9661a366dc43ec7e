"""Where images come from: a folder, a zip or tar archive, a table; recognised by what it is, not by its name alone."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Protocol

from lightline_predict.batching.archives import TarInput, ZipInput, tar_stream
from lightline_predict.batching.items import InputError, Item
from lightline_predict.batching.places import LocalPlace, S3Place
from lightline_predict.batching.tables import CsvInput, ParquetInput


class Input(Protocol):
    """Images in an order that stays; is_stream: whether each has to be read as it comes by."""

    is_stream: bool

    def items(self) -> Iterator[Item]: ...

    def count(self) -> int | None:
        """Count them, where that costs little; None where it does not."""
        ...

    def share(self) -> float | None:
        """Tell which share of it has been read, where it cannot be counted."""
        ...


class FolderInput:
    """Files in a folder and in those in it."""

    is_stream = False

    def __init__(self, place: LocalPlace | S3Place):
        self._place = place

    def items(self) -> Iterator[Item]:
        return self._place.items()

    def count(self) -> int | None:
        return None if self._place.is_remote else sum(1 for _ in self._place.items())

    def share(self) -> float | None:
        return None


@contextmanager
def open_input(place: LocalPlace | S3Place, column: str | None, id_column: str | None) -> Iterator[Input]:
    """Open what a place holds.

    column: of a table, the one with paths or with images' bytes; id_column: the one with ids.

    Raises:
        InputError: it is of no known kind, damaged, or has no such column.
    """
    if place.is_folder:
        if column or id_column:
            raise InputError(f"{place} is a folder; --column and --id-column are of tables.")
        yield FolderInput(place)
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(place.open())
        except OSError as error:
            raise InputError(f"{place} cannot be read: {error.strerror or error}.") from error
        yield _recognised(place, file, stack, column, id_column)


def _recognised(
    place: LocalPlace | S3Place, file: IO[bytes], stack: ExitStack, column: str | None, id_column: str | None
) -> Input:
    start = file.read(4)
    file.seek(0)
    if start == b"PAR1":
        return ParquetInput(place, file, column, id_column)
    if str(place).lower().endswith((".csv", ".tsv")):
        return CsvInput(place, file, column, id_column)
    if column or id_column:
        raise InputError(f"{place} is no table (Parquet, CSV or TSV); --column and --id-column are of tables.")
    if start in (b"PK\x03\x04", b"PK\x05\x06"):
        return ZipInput(place, file, stack)
    if stream := tar_stream(file, stack):
        return TarInput(place, file, stream)
    raise InputError(
        f"{place} is nothing that can be read here: a folder, an archive (zip, tar, tar.gz, tar.zst, tar.bz2, "
        "tar.xz) or a table (Parquet; CSV or TSV by its ending). Single images answers `lightline-predict classify`."
    )
