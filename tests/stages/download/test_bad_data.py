"""Every kind of bad file that a folder of photos can hold, from its bytes to the dataset or the list of rejected."""

import csv
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightline.config.data import FolderSource
from lightline.data.dataset import Dataset
from lightline.errors import DataError
from lightline.models.transforms import CropAndResize
from lightline.sources import open_source
from stages.download.ingest import download
from tests.support.deep_images import png_of_16_bits
from tests.support.pictures import saved
from tests.support.samples import random_pixels
from tests.support.source_settings import FETCH

pytestmark = pytest.mark.usefixtures("own_folder")

RGB = Image.fromarray(random_pixels(6, 9, 3))
LARGE = Image.fromarray(random_pixels(64, 64, 3))


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(RGB, "JPEG", exif=exif)


USABLE: dict[str, tuple[bytes, tuple[int, int]]] = {
    "a png.jpg": (saved(RGB, "PNG"), (6, 9)),
    "a jpeg.txt": (saved(RGB, "JPEG"), (6, 9)),
    "no extension": (saved(RGB, "PNG"), (6, 9)),
    "16 bit grey.png": (saved(Image.fromarray(random_pixels(6, 9).astype(np.uint16) * 257), "PNG"), (6, 9)),
    "16 bit colour.png": (png_of_16_bits(random_pixels(6, 9, 3).astype(int) * 257), (6, 9)),
    "cmyk.jpg": (saved(RGB.convert("CMYK"), "JPEG"), (6, 9)),
    "palette.png": (saved(RGB.convert("P"), "PNG"), (6, 9)),
    "grey with alpha.png": (saved(RGB.convert("LA"), "PNG"), (6, 9)),
    "animated.gif": (saved(RGB, "GIF", save_all=True, append_images=[RGB.rotate(180)]), (6, 9)),
    "animated.webp": (saved(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(180)]), (6, 9)),
    **{f"turned {n}.jpg": (turned(n), (6, 9) if n < 5 else (9, 6)) for n in range(1, 9)},
    "one pixel.png": (saved(Image.new("RGB", (1, 1)), "PNG"), (1, 1)),
    "a line.png": (saved(Image.new("RGB", (20_000, 1)), "PNG"), (1, 20_000)),
    'new\nline, comma and "quote".png': (saved(RGB, "PNG"), (6, 9)),
    unicodedata.normalize("NFC", "é.png"): (saved(RGB, "PNG"), (6, 9)),
    unicodedata.normalize("NFD", "é.png"): (saved(RGB, "PNG"), (6, 9)),
    "case.png": (saved(RGB, "PNG"), (6, 9)),
    "CASE.png": (saved(RGB, "PNG"), (6, 9)),
}
UNUSABLE: dict[str, tuple[bytes, str]] = {
    "truncated.jpg": (saved(LARGE, "JPEG")[:2000], "cannot be decoded"),
    "truncated.png": (saved(LARGE, "PNG")[:9000], "cannot be decoded"),
    "truncated.gif": (saved(LARGE, "GIF")[:3000], "cannot be decoded"),
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": (b"just text", "not an image in a known format"),
    "page.png": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not an image in a known format"),
    "git lfs.png": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not an image in a known format"),
    "zeros.png": (bytes(5000), "not an image in a known format"),
    "bomb.png": (saved(Image.new("1", (20_000, 10_000)), "PNG"), "20000×10000 pixels are more than data.max_pixels"),
    "32 bit.tif": (saved(Image.fromarray(np.zeros((3, 3), np.float32)), "TIFF"), "convert the image to 8 or 16 bits"),
    "film.avi": (bytes(2_000_000), "2000000 bytes are more than an image of data.max_pixels"),
}


def write(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = Path("raw", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def contents() -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path("raw").rglob("*") if path.is_file()}


def settings(max_rejected: int = 0, path: str = "raw") -> FolderSource:
    values = {
        "source": "folder",
        "path": path,
        "sha256": None,
        "fetch": FETCH,
        "max_pixels": 30_000,
        "bit_depth": "auto",
        "corrections": None,
        "split_folders": "auto",
    }
    return FolderSource.model_validate(values | {"max_rejected": max_rejected})


def opened(path: str = "raw"):
    return open_source(settings(path=path))


def fetched(max_rejected: int = 0, path: str = "raw"):
    return download(opened(path), settings(max_rejected))


def rejected() -> dict[str, str]:
    with Path("reports/download/rejected.csv").open(newline="", encoding="utf-8") as file:
        return dict(list(csv.reader(file))[1:])


GOOD = {"cat/good.png": saved(RGB, "PNG"), "dog/good.png": saved(RGB.rotate(180), "PNG")}


@pytest.mark.parametrize("name", USABLE)
def test_a_usable_file_of_any_kind_becomes_an_image(name):
    content, size = USABLE[name]
    write(GOOD | {f"cat/{name}": content})
    before = contents()
    fetched()
    read = Dataset()
    row = read.column("id").tolist().index(f"cat/{name}")
    assert read.pixels(row).shape == (*size, 3)
    assert (read.column("height")[row], read.column("width")[row]) == size
    # What the network will get of it.
    square = CropAndResize(16, 0.9)(torch.from_numpy(read.pixels(row).copy())[None])
    assert square.shape == (1, 16, 16, 3)
    assert contents() == before


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_file_of_any_kind_is_rejected_with_its_reason(name):
    content, reason = UNUSABLE[name]
    write(GOOD | {f"dog/{name}": content})
    before = contents()
    with pytest.raises(DataError, match=r"1 images cannot be used, and data.max_rejected = 0") as caught:
        fetched()
    assert f"  dog/{name}: " in str(caught.value)
    assert reason in rejected()[f"dog/{name}"]
    fetched(max_rejected=1)
    assert len(Dataset()) == 2
    assert contents() == before


def test_of_5000_files_the_300_bad_ones_are_told_at_once_and_none_is_touched():
    good = [saved(Image.fromarray(random_pixels(4, 4, 3, seed=number)), "PNG") for number in range(100)]
    bad = [content for name, (content, _) in UNUSABLE.items() if len(content) < 20_000]
    names = [f"{'abcde'[number % 5]}/{number:04d}.png" for number in range(5000)]
    spoiled = set(names[7::16][:300])
    write(
        {name: bad[number % len(bad)] if name in spoiled else good[number % 100] for number, name in enumerate(names)}
    )
    before = contents()
    with pytest.raises(DataError, match=r"300 images cannot be used(.|\n)*… and 295 more, all in reports/download/rej"):
        fetched(max_rejected=299)
    assert set(rejected()) == spoiled
    counts = fetched(max_rejected=300)
    assert set(rejected()) == spoiled
    assert len(Dataset()) == counts.summary()["images"] == 4700
    assert contents() == before


def test_a_class_is_the_same_however_its_letters_are_composed():
    composed, decomposed = (unicodedata.normalize(form, "größe") for form in ("NFC", "NFD"))
    assert composed != decomposed
    write({f"{composed}/1.png": GOOD["cat/good.png"], f"{decomposed}/2.png": GOOD["dog/good.png"], **GOOD})
    assert fetched().warnings() == []
    assert Dataset().classes == ["cat", "dog", composed]


def test_classes_that_differ_in_case_alone_stay_two_and_are_warned_of():
    write({f"{name}/1.png": GOOD["cat/good.png"] for name in ("Cat", "cat", "dog", "hot dog", "hot  dog")})
    assert fetched().warnings() == [
        "'Cat', 'cat' differ only in case, spaces or form, and are classes of their own.",
        "'hot  dog', 'hot dog' differ only in case, spaces or form, and are classes of their own.",
    ]
    assert len(Dataset().classes) == 5


def test_a_class_of_which_no_image_is_usable_is_warned_of():
    write(GOOD | {"owl/1.png": b"text", "owl/2.png": b""})
    (warning,) = fetched(max_rejected=2).warnings()
    assert warning == "There is no usable image of 'owl', so the model will not know it."
    assert Dataset().classes == ["cat", "dog"]


@pytest.mark.parametrize("splits", [[""], ["train/", "test/"]])
@pytest.mark.parametrize("kind", ["folder", "zip", "gztar"])
def test_a_class_folder_without_a_file_is_warned_of(splits, kind):
    write({f"{split}{name}": content for split in splits for name, content in GOOD.items()})
    for folder in ("owl/hidden", "cat/old"):
        Path("raw", splits[0], folder).mkdir(parents=True)
    Path("raw", splits[0], "owl/hidden/.DS_Store").write_bytes(b"")
    path = "raw" if kind == "folder" else shutil.make_archive("packed", kind, "raw")
    assert fetched(path=path).warnings() == ["There is no usable image of 'owl', so the model will not know it."]
    assert Dataset().classes == ["cat", "dog"]


def test_an_empty_class_folder_changes_the_source():
    write(GOOD)
    before = opened().identity()
    Path("raw/owl").mkdir()
    assert opened().identity() != before
