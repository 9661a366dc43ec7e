"""What a classifier says of images and what is measured of them: of the test images, of a served log, of a folder."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline.errors import DataError
from lightline.files import file_digest
from lightline_predict.classifier import Classifier
from lightline_predict.classify import files_of
from lightline_predict.images import UnusableImageError, check
from lightline_predict.measures import measure_encoded

MEASURES = ("brightness", "contrast", "sharpness", "size")
COLUMNS = ("probabilities", "embedding", "brightness", "contrast", "sharpness", "width", "height")
_AT_ONCE = 64  # images that are answered together


@dataclass(frozen=True)
class Images:
    """Attributes:
    probabilities: float32 [images, classes], as the model file gives them.
    embedding: float32 [images, features]; None where they were not noted.
    brightness, contrast, sharpness: float64 [images], see `lightline_predict.measures`.
    size: float64 [images], the square root of the number of pixels.
    """

    probabilities: np.ndarray
    embedding: np.ndarray | None
    brightness: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def confidence(self) -> np.ndarray:
        return self.probabilities.max(1)

    def take(self, rows: np.ndarray) -> "Images":
        """Choose some of them; rows: bool or int."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[rows] for name, value in values.items() if value is not None})


def from_table(table: pa.Table) -> Images:
    """Read COLUMNS of a log or of the reference."""
    measured = {name: table[name].to_numpy() for name in MEASURES[:3]}
    width, height = (table[side].to_numpy().astype(np.float64) for side in ("width", "height"))
    return Images(
        _matrix(table["probabilities"]), _embedding(table["embedding"]), **measured, size=(width * height) ** 0.5
    )


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Make float32 [rows, values] of lists that are equally long."""
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def _embedding(column: pa.ChunkedArray) -> np.ndarray | None:
    return _matrix(column) if len(column) and not column.null_count else None


def read_reference(path: Path, model: Classifier) -> Images:
    """Read what `test` wrote of its images.

    Raises:
        DataError: it is missing, or not the one that the model file was exported with.
    """
    expected = model.metadata.get("reference")
    if expected is None:
        raise DataError(
            "The model file names no reference: it is of before version 0.2. `dvc repro` writes one that does."
        )
    try:
        digest = file_digest(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; `dvc repro test` or `dvc checkout {path}` brings it.") from None
    if digest != expected:
        raise DataError(
            f"{path} is of another model: its SHA-256 is {digest[:12]}…, and the model file was exported beside "
            f"{expected[:12]}…. Bring both from one experiment, with `dvc exp apply` or `dvc checkout`."
        )
    return from_table(pq.read_table(path, columns=list(COLUMNS)))


@dataclass(frozen=True)
class Folder:
    """Images of a folder, answered. files: one an image; unread: what could not be read, a sentence a file."""

    images: Images
    files: list[Path]
    unread: list[str]


def answer_folder(folder: Path, model: Classifier) -> Folder:
    """Have the model file answer for the images in a folder and those in it, and measure them.

    Raises:
        DataError: none can be read.
    """
    paths = files_of(folder)
    parts: list[Images] = []
    files: list[Path] = []
    unread: list[str] = []
    with ThreadPoolExecutor() as pool:
        while some := list(islice(paths, _AT_ONCE)):
            read = list(pool.map(lambda path: _read(path, model), some))
            unread += [each for each in read if isinstance(each, str)]
            kept = [(path, each) for path, each in zip(some, read, strict=True) if not isinstance(each, str)]
            files += [path for path, _ in kept]
            if kept:
                parts.append(_answered([each for _, each in kept], model))
    if not parts:
        raise DataError(f"{folder} holds no image that can be read, and no log of `lightline-predict serve --log`.")
    return Folder(_joined(parts), files, unread)


def _read(path: Path, model: Classifier) -> Any:
    """Give the pixels of a file and what is measured of it, or a sentence on why that cannot be."""
    try:
        # As they are kept, and as the test images were measured: of what `model.read` gives no bytes are left.
        image = check(path.read_bytes(), model.reading.max_pixels, model.reading.bit_depth)
    except UnusableImageError as error:
        return f"{path}: {error}"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    return image.pixels, measure_encoded(image.encoded)


def _answered(read: list[tuple[np.ndarray, tuple[float, float, float]]], model: Classifier) -> Images:
    answers = model.answers([pixels for pixels, _ in read])
    brightness, contrast, sharpness = np.array([measured for _, measured in read]).T
    size = np.array([pixels.shape[0] * pixels.shape[1] for pixels, _ in read], np.float64) ** 0.5
    return Images(answers.probabilities, answers.embedding, brightness, contrast, sharpness, size)


def _joined(parts: list[Images]) -> Images:
    columns: dict[str, Any] = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Images)}
    joined: dict[str, Any] = {
        name: None if values[0] is None else np.concatenate(values) for name, values in columns.items()
    }
    return Images(**joined)
