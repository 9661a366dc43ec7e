"""The dataset that download writes and every later stage reads: three files, however many images.

`images.arrow` holds the encoded images, in the order in which the source gave them; it is memory-mapped, so that a
reader holds no more of it than the images it asks for. `index.parquet` has a row an image, sorted by id, and says where
in images.arrow it is. `dataset.json` holds the classes, the number of images and the digest.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline.errors import DataError
from lightline.files import content_digest, json_text, whole_folder
from lightline_predict import images

DATASET = Path("data/dataset")
_IMAGES, _INDEX, _SUMMARY = "images.arrow", "index.parquet", "dataset.json"
_IMAGES_PER_BATCH, _BYTES_PER_BATCH = 256, 2**24
_STACK, _STACK_BYTES = 512, 2**26  # images, and bytes, above which a stack takes no more
_ROWS_PER_DIGEST = 4096  # part of what the digest means: another number, other digests

_IMAGES_SCHEMA = pa.schema([("image", pa.large_binary())])  # JPEG or PNG
_BROUGHT = (  # along by a row
    ("height", pa.int32()),  # pixels, as the image stands after EXIF rotation
    ("width", pa.int32()),
    ("digest", pa.string()),  # of the pixels: equal for exact duplicates
    ("split", pa.string()),  # what the source says: train, val, test or null
    ("group", pa.string()),  # what the source says, or null
    ("thumbnail", pa.binary()),  # of lightline.data.thumbnails; null for tiny images
    ("dropped", pa.string()),  # by a correction: "train", out of train and val; "all", out of test too; or null
)
_ROW_SCHEMA = pa.schema([("id", pa.string()), ("class_name", pa.string()), ("test_class", pa.string()), *_BROUGHT])
_INDEX_SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # what the source calls the image: its path there, or a name and number
        ("label", pa.int32()),  # position in classes
        ("test_label", pa.int32()),  # that it is judged by, where it is in test: corrections may not be for that
        *_BROUGHT,
        ("position", pa.int64()),  # in images.arrow
    ]
)

# Arrow's own allocator keeps what it once had: a fifth more memory for a stage, and no time gained.
pa.set_memory_pool(pa.system_memory_pool())


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
    thumbnail: bytes | None = None
    test_class: str | None = None  # that it is judged by in test, where that is not class_name
    dropped: str | None = None
    bits: int | None = None  # see `lightline_predict.images.CheckedImage`; not kept


def write_dataset(
    rows: Iterable[Row], classes: Sequence[str] | None, folder: Path = DATASET, bit_depth: int = images.DEEPEST
) -> None:
    """Write the dataset whole, or leave what was there; holds one batch of images in memory at a time.

    classes: the class names in output order; None sorts those that occur.
    bit_depth: of 16 bits a channel those in use, as `lightline_predict.images.check` took them.

    Raises:
        DataError: there is no image, two have the same id, or one has a class that is not in classes.
    """
    with whole_folder(folder) as temporary:
        index = []
        with pa.OSFile(str(temporary / _IMAGES), "wb") as file, pa.ipc.new_file(file, _IMAGES_SCHEMA) as writer:
            for batch in _batches(rows):
                encoded = pa.array([row.image for row in batch], pa.large_binary())
                writer.write_batch(pa.record_batch([encoded], schema=_IMAGES_SCHEMA))
                columns = {name: [getattr(row, name) for row in batch] for name in _ROW_SCHEMA.names}
                index.append(pa.record_batch(columns, schema=_ROW_SCHEMA))
        if not index:
            raise DataError("The source holds no usable image; reports/download/rejected.csv lists those it has.")
        summary = _write_index(pa.Table.from_batches(index), classes, temporary)
        # All 16 bits are the rule, which is not written down.
        summary |= {} if bit_depth == images.DEEPEST else {"bit_depth": bit_depth}
        (temporary / _SUMMARY).write_text(json_text(summary), encoding="utf-8")


def _write_index(rows: pa.Table, classes: Sequence[str] | None, folder: Path) -> dict[str, object]:
    """Write the index, and return what dataset.json is to hold."""
    given, judged = (rows[name].combine_chunks().dictionary_encode() for name in ("class_name", "test_class"))
    occurring = {*given.dictionary.to_pylist(), *judged.dictionary.to_pylist()}
    names = sorted(occurring) if classes is None else list(classes)
    labels = _positions(given.dictionary.to_pylist(), names)[given.indices.to_numpy()]
    corrected = judged.indices.fill_null(-1).to_numpy()
    otherwise = _positions(judged.dictionary.to_pylist(), names)
    test_labels = np.where(corrected < 0, labels, otherwise[corrected] if len(otherwise) else labels)
    added = {"label": labels, "test_label": test_labels, "position": np.arange(len(rows))}
    index = pa.table(dict(zip(rows.column_names, rows.columns, strict=True)) | added)
    index = index.select(_INDEX_SCHEMA.names).cast(_INDEX_SCHEMA).sort_by("id")
    _check_ids(index["id"].to_pylist())
    pq.write_table(index, folder / _INDEX, compression="zstd")
    return {"classes": names, "num_images": len(index), "digest": _identity(index, names)}


def _positions(names: list[str], classes: list[str]) -> np.ndarray:
    """Find where each name is in classes: int32 [num_names]."""
    labels = {name: label for label, name in enumerate(classes)}
    if unknown := [name for name in names if name not in labels]:
        raise DataError(f"The source gives an image the class {unknown[0]!r}, which is none of its classes.")
    return np.array([labels[name] for name in names], np.int32)


def _check_ids(ids: list[str]) -> None:
    """Check that no two ids are equal; ids: sorted."""
    for first, second in pairwise(ids):
        if first == second:
            raise DataError(f"The source names two images {first!r}; every image needs a name of its own.")


def _identity(index: pa.Table, classes: list[str]) -> str:
    """Compute the SHA-256 of what matters: independent of the order of the source and of how the images are encoded."""
    identity = hashlib.sha256(content_digest(classes).encode())
    corrected = not index["label"].equals(index["test_label"]) or index["dropped"].null_count < len(index)
    also = ["test_label", "dropped"] if corrected else []
    columns = index.select(["id", "label", "digest", "split", "group", *also]).combine_chunks()
    for start in range(0, len(columns), _ROWS_PER_DIGEST):
        identity.update(content_digest(columns.slice(start, _ROWS_PER_DIGEST).to_pydict()).encode())
    return identity.hexdigest()


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield rows in batches of bounded number and bytes, so that memory does not grow with the images' size."""
    batch, num_bytes = [], 0
    for row in rows:
        batch.append(row)
        num_bytes += len(row.image)
        if len(batch) == _IMAGES_PER_BATCH or num_bytes >= _BYTES_PER_BATCH:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def codes(values: np.ndarray | pa.Array) -> np.ndarray:
    """Encode values as int64 [rows]: equal ones as equal numbers, counted from 0 as they appear; None becomes -1."""
    encoded = pa.array(values).dictionary_encode().indices
    return encoded.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


class Dataset:
    """The dataset, read: columns on demand, images by row.

    Attributes:
        classes: the class names, in output order.
        digest: SHA-256 of everything that matters in it, in hexadecimal.
        bit_depth: 8 to 16, the bits in use where an image had 16 a channel.
    """

    def __init__(self, folder: Path = DATASET):
        """Open the dataset in a folder.

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
        self.bit_depth: int = summary.get("bit_depth", images.DEEPEST)
        self._num_images: int = summary["num_images"]

    def __getstate__(self) -> dict[str, object]:
        # A worker process maps the files anew instead of getting a copy of what they hold.
        kept = ("folder", "classes", "digest", "bit_depth", "_num_images")
        return {name: self.__dict__[name] for name in kept}

    def __len__(self) -> int:
        return self._num_images

    def column(self, name: str) -> np.ndarray:
        """Read a column of the index, [num_images]: numbers as such, texts as objects (None where there is none)."""
        return pq.read_table(self.folder / _INDEX, columns=[name])[name].to_numpy()

    def codes(self, name: str) -> np.ndarray:
        """Encode a column's texts as numbers, int64 [num_images]: equal where the texts are, -1 where there is none.

        They take a tenth of the memory that the texts would.
        """
        return codes(pq.read_table(self.folder / _INDEX, columns=[name])[name].combine_chunks())

    @cached_property
    def labels(self) -> np.ndarray:
        """int32 [num_images]: positions in classes."""
        return self.column("label")

    @cached_property
    def test_labels(self) -> np.ndarray:
        """int32 [num_images]: what images are judged by, where they are in test."""
        return self.column("test_label")

    @cached_property
    def _positions(self) -> np.ndarray:
        return self.column("position")

    @cached_property
    def _images(self) -> pa.ChunkedArray:
        return pa.ipc.open_file(pa.memory_map(str(self.folder / _IMAGES))).read_all()["image"]

    def encoded(self, row: int) -> bytes:
        """Return an image's bytes, JPEG or PNG, which `images.decode` also turns as its EXIF data say."""
        return self._images[int(self._positions[row])].as_py()

    def pixels(self, row: int) -> np.ndarray:
        """Decode an image to uint8 RGB [height, width, 3]."""
        return images.decode(self.encoded(row))


def pixel_stacks(dataset: Dataset, rows: np.ndarray, max_images: int = _STACK) -> Iterator[np.ndarray]:
    """Yield the images of the rows in order, as stacks uint8 [n, height, width, 3].

    Neighbours of one size share a stack, so that sets of equal images are transformed as whole batches; of large
    photos a few at a time, so that they are never in memory all at once.
    """
    stack, used = np.empty((0, 0, 0, 3), np.uint8), 0
    for number, row in enumerate(rows):
        pixels = dataset.pixels(int(row))
        if used == len(stack) or pixels.shape != stack.shape[1:]:
            if used:
                yield stack[:used]
            most = min(max_images, max(1, _STACK_BYTES // pixels.nbytes), len(rows) - number)
            stack, used = np.empty((most, *pixels.shape), np.uint8), 0
        stack[used] = pixels
        used += 1
    if used:
        yield stack[:used]
