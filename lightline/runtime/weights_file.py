"""A file of weights, looked at without torch: what can be one, and what is said of any other."""

import json
import zipfile
from pathlib import Path

from lightline.errors import DataError

_PICKLE = b"\x80"  # how a state_dict begins that torch wrote before version 1.6


def unusable_weights(path: Path, reason: str) -> DataError:
    """Make the error for a file that is none, or damaged."""
    return DataError(
        f"model.weights: the file {path} {reason}. Allowed are safetensors and what `torch.save(network.state_dict(), "
        "…)` writes."
    )


def read_beginning(path: Path) -> bytes:
    """Read what tells the formats apart."""
    with path.open("rb") as file:
        return file.read(9)


def is_safetensors(beginning: bytes) -> bool:
    """Tell by its beginning: eight bytes of a length, then JSON of that length; the tensors follow."""
    return beginning[8:] == b"{"


def check_weights_file(path: Path) -> None:
    """Check that a file is whole and of a format that `train` reads.

    Raises:
        DataError: it is cut off, or something else.
    """
    beginning = read_beginning(path)
    if is_safetensors(beginning):
        _check_length(path, int.from_bytes(beginning[:8], "little"))
    elif not zipfile.is_zipfile(path) and beginning[:1] != _PICKLE:
        raise unusable_weights(path, f"is damaged, or none: it begins with {beginning!r}")


def _check_length(path: Path, length: int) -> None:
    """Compare a safetensors file's size with what its header, of this length, tells of."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(8)
        try:
            header = json.loads(file.read(min(length, size)))
            needed = 8 + length + max(entry["data_offsets"][1] for entry in header.values() if "dtype" in entry)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise unusable_weights(path, "is damaged: its header cannot be read") from None
    if size != needed:
        raise unusable_weights(path, f"is damaged: it has {size:,} bytes, and its header tells of {needed:,}")
