"""A model file and photos to answer."""

from pathlib import Path

import pytest
from PIL import Image

from lightline_predict import images
from lightline_predict.batching import run as running
from tests.support.batch import NAMES, random_pixels
from tests.support.model_files import write_model


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "model.onnx")


@pytest.fixture
def photos(tmp_path) -> Path:
    """Four images, one hidden, and one that is none."""
    folder = tmp_path / "photos"
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_pixels(9 + number, 12, 3, seed=number)).save(path)
    (folder / ".hidden.png").write_bytes(b"hidden")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.png").write_bytes(b"hidden")
    return folder


@pytest.fixture
def many(tmp_path) -> Path:
    """Three hundred small images."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        content = images.encode(random_pixels(8 + number % 3, 8, 3, seed=number))
        (folder / f"{number:03d}.png").write_bytes(content)
    return folder


@pytest.fixture
def parts_often(monkeypatch) -> None:
    """A part for every chunk."""
    monkeypatch.setattr(running, "_KEEP_ROWS", 1)
