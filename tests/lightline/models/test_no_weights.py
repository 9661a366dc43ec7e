"""Files that hold no weights are refused, and nothing in them is run."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from lightline.errors import DataError
from lightline.models.weights import read_weights
from tests.support.weights import saved, trained


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("trapped"),)


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def cut(suffix: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(saved(trained(), path.with_suffix(suffix)).read_bytes()[:-100_000])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: torch.save(nn.Linear(2, 2), path), r"holds objects of Python, which would have to be run"),
        (lambda path: torch.save({"state_dict": trained(), "trap": Trap()}, path), r"holds objects of Python"),
        (write(b"<!DOCTYPE html><html>sign in</html>"), r"is damaged, or none: it begins with b'<!DOCTYPE'"),
        (write(b""), r"is damaged, or none: it begins with b''"),
        (write(b"12345678{"), r"is damaged, or none"),
        (cut(".safetensors"), r"is damaged, or none"),
        (cut(".whole"), r"is damaged, or none"),
        (lambda path: torch.save([1, 2], path), r"is damaged, or none"),
        (lambda path: torch.save({"epoch": 1, "lr": 0.1}, path), r"has no layers: epoch, lr"),
    ],
    ids=["module", "trap", "page", "empty", "header", "safetensors cut", "pth cut", "list", "no layers"],
)
def test_what_holds_no_weights_is_refused(make, said: str, own_folder: Path):
    path = own_folder / "weights.pth"
    make(path)
    with pytest.raises(
        DataError, match=rf"model\.weights: the file {re.escape(str(path))} {said}.*safetensors and what"
    ):
        read_weights(path)
    assert not Path("trapped").exists()
