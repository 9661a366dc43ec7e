"""Damaged input of every kind: read as far as it goes or refused in a sentence, never anything else.

The suite takes a short share that is the same every time; `make fuzz` goes on for minutes, each time another way. What
it finds becomes an `@example`.
"""

import gzip
import io
import lzma
import os
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lightline.errors import DataError
from lightline.sources import cifar
from lightline.sources.archive import DamagedMemberError, open_members
from lightline.sources.archived_folder import ArchivedFolder
from lightline.sources.benchmarks import _OTHER_MAKE
from lightline.sources.idx import read_idx
from lightline.sources.table_file import read_columns
from lightline_predict import images

EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
MAX_PIXELS = 4096
fuzz = settings(
    max_examples=int(EXAMPLES or 100),
    derandomize=EXAMPLES is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# What damages do: where (a part of the length), how, and with which bytes.
Damage = tuple[float, str, bytes]
WAYS = ("overwrite", "insert", "delete", "cut", "repeat")


def damaged(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the samples with up to six damages, or bytes of any kind."""
    damage = st.tuples(st.floats(0, 1), st.sampled_from(WAYS), st.binary(min_size=1, max_size=8))
    return st.builds(apply, st.sampled_from(samples), st.lists(damage, max_size=6)) | st.binary(max_size=64)


def apply(content: bytes, damages: list[Damage]) -> bytes:
    for place, way, given_bytes in damages:
        at = int(place * len(content))
        before, after = content[:at], content[at:]
        content = {
            "overwrite": before + given_bytes + after[len(given_bytes) :],
            "insert": before + given_bytes + after,
            "delete": before + after[len(given_bytes) :],
            "cut": before,
            "repeat": before + after[:64] * 2 + after[64:],
        }[way]
    return content


def picture(file_format: str, mode: str = "RGB", **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


PICTURES = [
    *(picture(name) for name in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")),
    *(picture(name, exif=turned()) for name in ("JPEG", "PNG", "WEBP")),
    picture("PNG", "P"),
    picture("PNG", "LA"),
    picture("PNG", "I;16"),
    picture("JPEG", "CMYK"),
    picture("JPEG", "L", progressive=True),
    picture("TIFF", "RGB", compression="tiff_lzw"),
]


@fuzz
@given(damaged(PICTURES))
def test_images(content: bytes):
    with warnings.catch_warnings(), suppress(images.UnusableImageError):
        warnings.simplefilter("ignore")  # Pillow's, about damaged metadata, which are no errors outside of tests
        checked = images.check(content, MAX_PIXELS)
        assert checked.pixels.dtype == np.uint8
        assert checked.pixels.ndim == 3
        assert checked.pixels.size <= 3 * MAX_PIXELS
        np.testing.assert_array_equal(images.decode(checked.encoded), checked.pixels)


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/" + "long" * 40 + ".png"):
            info = tarfile.TarInfo(name)
            info.size = len(PICTURES[1])
            archive.addfile(info, io.BytesIO(PICTURES[1]))
    return buffer.getvalue()


def zipped(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png"):
            archive.writestr(name, PICTURES[1])
    return buffer.getvalue()


TARS, ZIPS = [tar()], [zipped(zipfile.ZIP_STORED), zipped(zipfile.ZIP_DEFLATED)]


def read_archive(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "images")
        path.write_bytes(content)
        with suppress(DataError):
            for image in ArchivedFolder(path, None, MAX_PIXELS, "auto").images():
                assert isinstance(image.id, str)
        with suppress(DataError), open_members(path) as members:
            for member in members:
                if not member.refused:
                    with suppress(DamagedMemberError):
                        assert len(member.read()) <= max(member.size, len(content))


@fuzz
@given(damaged(ZIPS))
def test_zip_archives(content: bytes):
    read_archive(content)


@fuzz
@given(damaged(TARS))
def test_tar_archives(content: bytes):
    read_archive(content)


@fuzz
@given(damaged(TARS))
def test_tar_archives_in_a_stream(content: bytes):
    read_archive(zstandard.compress(content, level=1))


@pytest.mark.parametrize("pack", [zstandard.compress, gzip.compress, lzma.compress])
@fuzz
@given(data=st.data())
def test_compressed_archives(pack: Callable[[bytes], bytes], data: st.DataObject):
    read_archive(data.draw(damaged([pack(TARS[0])])))


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"path": ["a.png", "b.png", None], "label": ["cat", "dog", "cat"], "n": [1, 2, 3]}), buffer)
    return buffer.getvalue()


CSV = b'path,label,n\na.png,cat,1\n"b ""x"".png","dog\nx",2\n,,\n'
TABLES = [CSV, CSV.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + CSV, parquet()]


@fuzz
@given(damaged(TABLES))
def test_tables(content: bytes):
    with TemporaryDirectory() as folder:
        path = Path(folder, "table")
        path.write_bytes(content)
        with suppress(DataError):
            columns = read_columns(path, ["path", "label"])
            assert len(columns["path"]) == len(columns["label"])
            assert all(value is None or isinstance(value, str) for column in columns.values() for value in column)


IDX = [b"\0\0\x08\x03" + b"\0\0\0\x02" * 3 + bytes(8), b"\0\0\x08\x01" + b"\0\0\0\x05" + bytes(5)]


@fuzz
@given(damaged(IDX))
@example(b"")
@example(IDX[0][:12])
def test_idx_files(content: bytes):
    with TemporaryDirectory() as folder:
        path = Path(folder, "images.gz")
        path.write_bytes(gzip.compress(content, 1))
        with suppress(ValueError):  # which `Benchmark.images` turns into a sentence
            assert read_idx(path).dtype == np.uint8


BATCH = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
PICKLES = [pickle.dumps(BATCH, protocol) for protocol in (2, 4)]


@fuzz
@given(damaged(PICKLES))
@example(b"\x80\x04\x95" + b"\xff" * 8)  # a frame of more bytes than there can be
@example(b"\x96" + b"\x7f" * 8)  # a bytearray of more bytes than there are
def test_cifar_batches(content: bytes):
    with TemporaryDirectory() as folder:
        path = Path(folder, "images")
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo("data_batch_1")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        with suppress(DataError, *_OTHER_MAKE):  # which `Benchmark.images` turns into a sentence
            assert all(image.class_name in "ab" for image in cifar.images({"images": path}, "ab"))
