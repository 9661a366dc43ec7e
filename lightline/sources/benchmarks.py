"""The benchmark sets, from the files that torchvision downloads and with its checksums, read without torch.

A contract test compares every address and checksum here with those of the installed torchvision.
"""

import pickle
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lightline.config.data import Fetch
from lightline.errors import DataError
from lightline.sources.base import SourceImage

# What readers raise over files that are not what they seem.
_OTHER_MAKE = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, OSError, MemoryError),
    *(zlib.error, struct.error, pickle.UnpicklingError),
)

Files = dict[str, Path]  # file name → where it lies on this machine
_Images = Callable[[Files, Sequence[str]], Iterator[SourceImage]]


@dataclass(frozen=True)
class BenchmarkFiles:
    """Where a set comes from.

    base_urls: each holds all the files; the next is tried where one fails.
    md5: file name → checksum.
    """

    base_urls: tuple[str, ...]
    md5: dict[str, str]


_CIFAR = ("https://www.cs.toronto.edu/~kriz/",)

BENCHMARKS = {
    "cifar10": BenchmarkFiles(_CIFAR, {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"}),
    "cifar100": BenchmarkFiles(_CIFAR, {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"}),
    "mnist": BenchmarkFiles(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion_mnist": BenchmarkFiles(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "svhn": BenchmarkFiles(
        ("http://ufldl.stanford.edu/housenumbers/",),
        {
            "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
            "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        },
    ),
}


def _algorithm(digest: str) -> Literal["md5", "sha256"]:
    return "md5" if len(digest) == 32 else "sha256"


class Benchmark:
    """One of BENCHMARKS. mirror, checksums, fetch: see `lightline.config.data.BenchmarkSource`."""

    def __init__(self, name: str, mirror: str | None, checksums: dict[str, str] | None, fetch: Fetch):
        self.name = name
        self.fetch = fetch
        self.base_urls = (mirror.rstrip("/") + "/",) if mirror else BENCHMARKS[name].base_urls
        self.md5 = BENCHMARKS[name].md5 | (checksums or {})
        if unknown := sorted(set(checksums or {}) - set(BENCHMARKS[name].md5)):
            allowed = ", ".join(BENCHMARKS[name].md5)
            raise DataError(f"data.checksums names {', '.join(unknown)}; {name} has the files {allowed}.")

    def identity(self) -> dict[str, Any]:
        return {"source": self.name, "md5": self.md5}

    @property
    def classes(self) -> Sequence[str]:
        return self._classes

    def images(self) -> Iterator[SourceImage]:
        files, names = self._files, self.classes
        try:
            yield from self._reader[1](files, names)
        # The checksum was right, so the mirror's files are of another make.
        except _OTHER_MAKE as error:
            raise DataError(f"The files of {self.name} are not in the expected format: {error}.") from None

    @cached_property
    def _classes(self) -> Sequence[str]:
        return self._reader[0](self._files)

    @cached_property
    def _files(self) -> Files:
        from lightline.runtime.fetch.fetch import fetch

        return {
            name: fetch([base + name for base in self.base_urls], _algorithm(digest), digest, self.fetch)
            for name, digest in self.md5.items()
        }

    @property
    def _reader(self) -> tuple[Callable[[Files], Sequence[str]], _Images]:
        # Imported here: `identity` needs no reader, and every `dvc repro` asks for it.
        if self.name in ("cifar10", "cifar100"):
            from lightline.sources import cifar

            return cifar.classes, cifar.images
        if self.name == "svhn":
            from lightline.sources import svhn

            return svhn.classes, svhn.images
        from lightline.sources import idx

        return (idx.digit_classes if self.name == "mnist" else idx.fashion_classes), idx.images
