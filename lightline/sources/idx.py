"""MNIST and sets in its format: gzipped IDX files, a header of sizes and then the bytes."""

import gzip
import math
import struct
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lightline.sources.base import SourceImage
from lightline_predict.images import encode

_SPLITS = {"train": "train", "t10k": "test"}
_UINT8 = 8  # the header's code for the type of the values
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def digit_classes(files: dict[str, Path]) -> Sequence[str]:
    """List the classes of MNIST: the digits."""
    return tuple("0123456789")


def fashion_classes(files: dict[str, Path]) -> Sequence[str]:
    """List the classes of Fashion-MNIST, as its authors name them."""
    return _FASHION


def images(files: dict[str, Path], names: Sequence[str]) -> Iterator[SourceImage]:
    """Yield all images, train first."""
    for part, split in _SPLITS.items():
        pixels = read_idx(files[f"{part}-images-idx3-ubyte.gz"])
        labels = read_idx(files[f"{part}-labels-idx1-ubyte.gz"])
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            yield SourceImage(f"{split}-{number:05d}", names[int(label)], partial(encode, image), image.nbytes, split)


def read_idx(path: Path) -> np.ndarray:
    """Read the uint8 array in a gzipped IDX file.

    Raises:
        ValueError: it is no IDX file of bytes, or shorter or longer than its header says.
    """
    with gzip.open(path) as file:
        content = file.read()
    try:
        zero, kind, num_dimensions = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{num_dimensions}I", content, 4)
    except struct.error:
        raise ValueError(f"{path.name} is shorter than its header") from None
    if zero != 0 or kind != _UINT8:
        raise ValueError(f"{path.name} is no IDX file of bytes")
    start = 4 + 4 * num_dimensions
    if len(content) - start != math.prod(shape):
        raise ValueError(f"{path.name} holds {len(content) - start} values, its header says {math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
