"""The dataset that download writes and every later stage reads: three files, however many images.

`images.arrow` holds the encoded images, in the order in which the source gave them; it is memory-mapped, so that a
reader holds no more of it than the images it asks for. `index.parquet` has a row an image, sorted by id, and says where
in images.arrow it is. `dataset.json` holds the classes, the number of images and the digest.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline import images
from lightline.errors import DataError
from lightline.files import content_digest, whole_folder, write_json

DATASET = Path("data/dataset")
_IMAGES, _INDEX, _SUMMARY = "images.arrow", "index.parquet", "dataset.json"
_IMAGES_PER_BATCH = 256

_IMAGES_SCHEMA = pa.schema([("image", pa.large_binary())])  # JPEG or PNG
_INDEX_SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # what the source calls the image: its path there, or a name and number
        ("label", pa.int32()),  # position in classes
        ("height", pa.int32()),  # pixels, as the image stands after EXIF rotation
        ("width", pa.int32()),
        ("digest", pa.string()),  # of the pixels: equal for exact duplicates
        ("split", pa.string()),  # what the source says: train, val, test or null
        ("group", pa.string()),  # what the source says, or null
        ("position", pa.int64()),  # in images.arrow
    ]
)


@dataclass(frozen=True)
class Row:
    """One checked image on its way into the dataset."""

    id: str
    image: bytes
    class_name: str
    height: int
    width: int
    digest: str
    split: str | None = None
    group: str | None = None


def pixel_digest(pixels: np.ndarray) -> str:
    """SHA-256 of uint8 pixels [height, width, 3] and their size, in hexadecimal."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def write_dataset(rows: Iterable[Row], classes: Sequence[str] | None, folder: Path = DATASET) -> None:
    """Write the dataset whole, or leave what was there; holds one batch of images in memory at a time.

    classes: the class names in output order; None sorts those that occur.

    Raises:
        DataError: there is no image, or two have the same id.
    """
    with whole_folder(folder) as temporary:
        index = []
        with pa.OSFile(str(temporary / _IMAGES), "wb") as file, pa.ipc.new_file(file, _IMAGES_SCHEMA) as writer:
            for batch in _batches(rows):
                writer.write_batch(
                    pa.record_batch([pa.array([row.image for row in batch], pa.large_binary())], schema=_IMAGES_SCHEMA)
                )
                index += [{key: value for key, value in asdict(row).items() if key != "image"} for row in batch]
        if not index:
            raise DataError("The source holds no usable image; reports/download/rejected.csv lists those it has.")
        _write_index(
            index, sorted({row["class_name"] for row in index}) if classes is None else list(classes), temporary
        )


def _write_index(index: list[dict[str, Any]], classes: list[str], folder: Path) -> None:
    labels = {name: label for label, name in enumerate(classes)}
    for position, row in enumerate(index):
        row["position"] = position
        row["label"] = labels[row.pop("class_name")]
    index.sort(key=lambda row: row["id"])
    for first, second in zip(index, index[1:], strict=False):
        if first["id"] == second["id"]:
            raise DataError(f"The source names two images {first['id']!r}; every image needs a name of its own.")
    pq.write_table(pa.Table.from_pylist(index, _INDEX_SCHEMA), folder / _INDEX, compression="zstd")
    identity = hashlib.sha256(content_digest(classes).encode())
    for row in index:
        identity.update(content_digest([row[key] for key in ("id", "label", "digest", "split", "group")]).encode())
    write_json(folder / _SUMMARY, {"classes": classes, "num_images": len(index), "digest": identity.hexdigest()})


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _IMAGES_PER_BATCH)):
        yield batch


class Dataset:
    """The dataset, read: columns on demand, images by row.

    Attributes:
        classes: the class names, in output order.
        digest: SHA-256 of everything that matters in it, in hexadecimal.
    """

    def __init__(self, folder: Path = DATASET):
        """
        Raises:
            DataError: there is no whole dataset in the folder.
        """
        self.folder = folder
        try:
            summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{folder} holds no dataset; `dvc repro download` writes it.") from None
        self.classes: list[str] = summary["classes"]
        self.digest: str = summary["digest"]
        self._num_images: int = summary["num_images"]

    def __len__(self) -> int:
        return self._num_images

    def column(self, name: str) -> np.ndarray:
        """A column of the index, [num_images]: numbers as such, texts as objects (None where there is none)."""
        return pq.read_table(self.folder / _INDEX, columns=[name])[name].to_numpy()

    @cached_property
    def labels(self) -> np.ndarray:
        """int32 [num_images]: positions in classes."""
        return self.column("label")

    @cached_property
    def _positions(self) -> np.ndarray:
        return self.column("position")

    @cached_property
    def _images(self) -> pa.ChunkedArray:
        return pa.ipc.open_file(pa.memory_map(str(self.folder / _IMAGES))).read_all()["image"]

    def encoded(self, row: int) -> bytes:
        """The bytes of an image, JPEG or PNG."""
        batch, offset = divmod(int(self._positions[row]), _IMAGES_PER_BATCH)
        return self._images.chunk(batch)[offset].as_py()

    def pixels(self, row: int) -> np.ndarray:
        """uint8 RGB [height, width, 3]."""
        return images.decode(self.encoded(row))
