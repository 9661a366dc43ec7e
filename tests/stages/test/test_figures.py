from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.test.calibration import reliability
from stages.test.figures import Mistake, draw_confusion, draw_mistakes, draw_reliability
from stages.test.metrics import confusion_matrix
from stages.train.curves import draw_curves


def read(path: Path) -> np.ndarray:
    """uint8 RGB [height, width, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def mistake(size: tuple[int, int], name: str = "cat") -> Mistake:
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[..., 1] = 200
    return Mistake(pixels, name, "dog", 0.87)


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (200, 300), (1, 900), (1500, 40)])
@pytest.mark.parametrize("number", [1, 6])
def test_images_of_any_size_are_drawn(tmp_path: Path, size: tuple[int, int], number: int):
    draw_mistakes([mistake(size)] * number, "some", tmp_path / "mistakes.png")
    green = (read(tmp_path / "mistakes.png") == [0, 200, 0]).all(axis=2)
    assert green.sum() >= number * 100  # even the narrowest is a line that can be seen


def test_more_mistakes_make_a_larger_figure_and_none_a_small_one(tmp_path: Path):
    heights = []
    for number in (0, 5, 25):
        draw_mistakes([mistake((8, 8))] * number, "some", tmp_path / f"{number}.png")
        heights.append(len(read(tmp_path / f"{number}.png")))
    assert heights == sorted(set(heights))


@pytest.mark.parametrize("name", ["$5", "a$b$c", "x_{1}^2", "花", "two\nlines", "long " * 50, "", "\\alpha"])
def test_any_class_name_can_be_drawn(tmp_path: Path, name: str):
    draw_mistakes([mistake((8, 8), name)], name, tmp_path / "mistakes.png")
    draw_confusion(np.eye(2, dtype=int), [name, "other"], tmp_path / "confusion.png")
    assert len(read(tmp_path / "mistakes.png")) > 100
    assert len(read(tmp_path / "confusion.png")) > 100


@pytest.mark.parametrize("num_classes", [1, 2, 10, 100, 300])
def test_confusion_of_any_number_of_classes(tmp_path: Path, num_classes: int):
    confusion = np.eye(num_classes, dtype=int) * 9
    confusion[0] = 0  # a class without images
    draw_confusion(confusion, [f"class {number}" for number in range(num_classes)], tmp_path / "confusion.png")
    height, width, _ = read(tmp_path / "confusion.png").shape
    assert 400 <= height <= 1400
    assert width > height


def test_every_image_of_ten_thousand_classes_is_in_a_figure_of_the_usual_size(tmp_path: Path):
    labels = np.arange(10_000)
    confusion = confusion_matrix(labels[::-1], labels, len(labels))
    assert confusion.shape == (1000, 1000)
    assert (np.fliplr(confusion).diagonal() == 10).all()
    draw_confusion(confusion, labels.astype(str).tolist(), tmp_path / "confusion.png")
    assert len(read(tmp_path / "confusion.png")) <= 1400


def test_equal_content_makes_equal_bytes(tmp_path: Path):
    generator = np.random.default_rng(0)
    confidence, correct = generator.random(100), generator.random(100) > 0.5
    bins = reliability(confidence, correct, 10)
    files = []
    for number in range(2):
        for name, draw in (
            ("mistakes", lambda path: draw_mistakes([mistake((8, 8))], "one", path)),
            ("confusion", lambda path: draw_confusion(np.eye(3, dtype=int), list("abc"), path)),
            ("reliability", lambda path: draw_reliability(bins, bins[:1], ("before", "after"), path)),
        ):
            draw(tmp_path / f"{name}-{number}.png")
            files.append((tmp_path / f"{name}-{number}.png").read_bytes())
    assert files[:3] == files[3:]
    assert all(b"matplotlib" not in file.lower() for file in files)


@pytest.mark.parametrize("epochs", [1, 30])
def test_the_curves_of_a_training(tmp_path: Path, epochs: int):
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    rows = [{"epoch": n + 1, **dict.fromkeys(names, 1 / (n + 1))} for n in range(epochs)]
    for name in ("one.png", "again.png"):
        draw_curves(rows, rows[-1], tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    blue = (np.abs(read(tmp_path / "one.png").astype(int) - [0x1F, 0x5F, 0xA8]).max(axis=2) < 40).sum()
    assert blue > 50
