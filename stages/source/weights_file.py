"""Whether a file of weights can be one: looked at without torch, before the images are decoded."""

import json
import zipfile
from pathlib import Path

from lightline.errors import DataError

_PICKLE = b"\x80"  # how a state_dict begins that torch wrote before version 1.6


def check_weights_file(path: Path) -> None:
    """Check that a file is whole and of a format that `train` reads.

    Raises:
        DataError: it is cut off, or something else.
    """
    if (reason := _problem(path)) is not None:
        raise DataError(
            f"model.weights: the file {path} {reason}. Allowed are safetensors and what `torch.save("
            "network.state_dict(), …)` writes."
        )


def _problem(path: Path) -> str | None:
    with path.open("rb") as file:
        begins = file.read(9)
        if begins[8:] == b"{":  # safetensors: eight bytes of a length, then JSON of that length, then the tensors
            length, size = int.from_bytes(begins[:8], "little"), path.stat().st_size
            file.seek(8)
            try:
                header = json.loads(file.read(min(length, size)))
                needed = 8 + length + max([entry["data_offsets"][1] for entry in header.values() if "dtype" in entry])
            except (ValueError, KeyError, TypeError, AttributeError):
                return "is damaged: its header cannot be read"
            return None if size == needed else f"is damaged: it has {size:,} bytes, and its header tells of {needed:,}"
    if zipfile.is_zipfile(path) or begins[:1] == _PICKLE:
        return None
    return f"is damaged, or none: it begins with {begins!r}"
