"""CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009) in their "python version": pickled batches in a tar.gz."""

import io
import pickle
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lightline.sources.archive import open_members
from lightline.sources.base import SourceImage
from lightline_predict.images import encode

# The batches' file names and their split; the file with the class names and the key of the list in it.
_SPLITS = {f"data_batch_{number}": "train" for number in range(1, 6)} | {
    "test_batch": "test",
    "train": "train",
    "test": "test",
}
_NAMES = {"batches.meta": "label_names", "meta": "fine_label_names"}


class _Unpickler(pickle.Unpickler):
    """Rebuilds numpy arrays of plain numbers and nothing else: a pickle can otherwise run any program."""

    # Numpy's modules as old and new versions name them; _codecs is how Python 3 writes bytes for Python 2.
    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise ValueError(f"a pickle asks for {module}.{name}, which no CIFAR batch needs")
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


def classes(files: dict[str, Path]) -> Sequence[str]:
    """Read the class names, in label order; of CIFAR-100 the fine ones."""
    for name, content in _contents(files, set(_NAMES)):
        return tuple(content[_NAMES[name]])
    raise ValueError("the archive holds no class names")


def images(files: dict[str, Path], names: Sequence[str]) -> Iterator[SourceImage]:
    """Yield all images, batch by batch."""
    for batch, content in _contents(files, set(_SPLITS)):
        pixels = np.asarray(content["data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels = content["labels"] if "labels" in content else content["fine_labels"]
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            read = partial(encode, image)
            yield SourceImage(f"{batch}-{number:05d}", names[int(label)], read, image.nbytes, _SPLITS[batch])


def _contents(files: dict[str, Path], wanted: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    (archive,) = files.values()
    with open_members(archive) as members:
        for member in members:
            name = member.name.rpartition("/")[2]
            if name in wanted:
                yield name, _Unpickler(io.BytesIO(member.read()), encoding="latin1").load()
