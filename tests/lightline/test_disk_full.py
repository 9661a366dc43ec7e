"""What the disk does not take is told, whatever the library says, and what was there stays."""

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from lightline.errors import LightlineError, NoRoomError, explain_full_disk
from lightline.files import (
    whole_file,
    whole_folder,
)
from tests.support.small_disk import files_of_at_most


@pytest.mark.parametrize("writer", [whole_file, whole_folder])
def test_what_the_disk_does_not_take_is_told_and_the_old_stays(tmp_path, writer):
    target = tmp_path / "set"
    with writer(target) as temporary:
        (temporary / "a" if writer is whole_folder else temporary).write_bytes(b"old")
    kept = target / "a" if writer is whole_folder else target
    with pytest.raises(NoRoomError) as caught, files_of_at_most(1000), writer(target) as temporary:
        (temporary / "a" if writer is whole_folder else temporary).write_bytes(bytes(5000))
    assert re.fullmatch(
        rf"{target} cannot be written: File too large\. It needs more than 1000 bytes, and \d+ bytes are free in "
        rf"{tmp_path}\. Raise the limit of a file's size \(`ulimit -f`\), then give the same command again\.",
        str(caught.value),
    )
    assert kept.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


NUMBERS = np.arange(20_000.0)
# What each library makes of the refusal is its own: torch and NumPy keep the reason to themselves, Pillow and pyarrow
# remove what they have begun.
WRITERS: dict[str, Callable[[Path], Any]] = {
    "a.ckpt": lambda path: torch.save({"a": torch.from_numpy(NUMBERS)}, path),
    "a.npy": lambda path: np.save(path, NUMBERS),
    "a.parquet": lambda path: pq.write_table(pa.table({"a": NUMBERS}), path),
    "a.png": lambda path: Image.effect_noise((200, 200), 50).save(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_recognised_whatever_the_library_says(tmp_path, name):
    said = r"a\.\w+ cannot be written: File too large\. It needs more\b.*Raise the limit"
    with pytest.raises(NoRoomError, match=said), files_of_at_most(1000), whole_file(tmp_path / name) as temporary:
        WRITERS[name](temporary)
    assert not list(tmp_path.iterdir())


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(OSError, match="Permission"), whole_file(tmp_path / "a"):
        raise OSError(errno.EACCES, "Permission denied")
    with pytest.raises(KeyError), explain_full_disk():
        raise KeyError


def test_what_is_no_output_is_told_too(tmp_path):
    said = f"{tmp_path}/a cannot be written: Disk quota exceeded.*Free are"
    with pytest.raises(LightlineError, match=said), explain_full_disk():
        raise OSError(errno.EDQUOT, "", str(tmp_path / "a"))
    said = r"A file cannot be written: No space left on device\. Free are \d+ bytes"
    with pytest.raises(LightlineError, match=said), explain_full_disk():
        raise OSError(errno.ENOSPC, "")
