"""Images for `lightline-predict batch`, and what is to be written about them."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from lightline_predict import images
from lightline_predict.__main__ import main
from lightline_predict.classifier import Classifier
from tests.support.archives import compressed
from tests.support.model_files import CLASSES

# In the order of their names, with folders where they stand in it.
NAMES = ("a.png", "b/größe.jpg", "b/z.png", "c.gif")


def random_pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def batch(*arguments: object) -> int:
    try:
        return main(["batch", *map(str, arguments)])
    except SystemExit as end:  # whose text Python prints to stderr, to exit with 1
        print(end.code, file=sys.stderr)
        return 1


def rows(out: Path) -> list[dict]:
    return pq.read_table(out).to_pylist()


def check(out: Path, model_file: Path, contents: dict[str, bytes]) -> None:
    """OUT has these images, by id in this order, with the answers of the model file."""
    found = rows(out)
    assert [row["id"] for row in found] == list(contents)
    model = Classifier(model_file)
    for row, content in zip(found, contents.values(), strict=True):
        pixels = images.check(content, 10**8).pixels
        answers = model(pixels)
        assert (row["height"], row["width"]) == pixels.shape[:2]
        assert (row["predicted"], row["error"]) == (answers.classes[0], None)
        assert row["accepted"] == answers.accepted[0]
        assert row["set"] == [name for name, is_in in zip(CLASSES, answers.set[0], strict=True) if is_in]
        np.testing.assert_allclose(row["probabilities"], answers.probabilities[0], atol=1e-5)
        assert row["confidence"] == max(row["probabilities"])


def contents_of(photos: Path) -> dict[str, bytes]:
    return {name: (photos / name).read_bytes() for name in NAMES}


def as_zip(photos: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents_of(photos).items():
            archive.writestr(name, content)
        archive.writestr("__MACOSX/._a.png", b"hidden")
    return path


def as_tar(photos: Path, path: Path, kind: str = "tar") -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(photos, ".", filter=lambda info: None if info.name.endswith(".jpg") else info)
        archive.add(photos / "b/größe.jpg", "./b/größe.jpg")
    path.write_bytes(compressed(buffer.getvalue(), kind))
    return path
