"""Images of 16 bits, of which a set may use fewer."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lightline.data.dataset import Dataset
from lightline.sources.base import SourceImage
from lightline_predict import images
from stages.download.ingest import download
from tests.support.deep_images import png_of_16_bits
from tests.support.made_source import Fake, limits, png

pytestmark = pytest.mark.usefixtures("own_folder")
REPORTS = Path("reports/download")


def deep(number: int, largest: int = 4095, channels: int = 1) -> bytes:
    """A PNG of 16 bits a channel."""
    values = np.random.default_rng(number).integers(0, largest, (8, 8, channels), endpoint=True, dtype=np.uint16)
    values[0, 0] = largest
    return png_of_16_bits(values)


def test_images_of_16_bits_are_read_at_the_depth_that_the_set_uses():
    contents = [deep(0, 1023), png(1), deep(2), deep(3, 100, channels=3), png(4)]
    counts = download(Fake(contents), limits())
    read = Dataset()
    assert read.bit_depth == 12
    expected = [images.check(content, 10_000, 12).pixels for content in contents]
    for row, pixels in enumerate(expected):
        np.testing.assert_array_equal(read.pixels(row), pixels)
    summary = json.loads((REPORTS / "summary.json").read_text())
    assert summary == counts.summary()
    assert (summary["images"], summary["16_bit_images"], summary["bit_depth"]) == (5, 3, 12)
    assert counts.warnings() == []
    # Which of them is the one that needs all the bits does not matter.
    digest = read.digest
    for fixed in (contents, contents[::-1]):
        source = Fake(fixed)
        source.images = lambda fixed=fixed: (
            SourceImage(
                f"{contents.index(content):04d}.png", "ab"[contents.index(content) % 2], partial(bytes, content), 1
            )
            for content in fixed
        )
        download(source, limits())
        assert Dataset().digest == digest


def test_thirty_different_images_of_12_bits_stay_different():
    rng = np.random.default_rng(0)
    contents = [png_of_16_bits((1030 + rng.normal(0, 10, (32, 32, 1))).astype(np.uint16)) for _ in range(30)]
    download(Fake(contents), limits())
    read = Dataset()
    assert len(set(read.column("digest"))) == 30
    assert read.bit_depth == 11
    assert len(np.unique(read.pixels(0))) > 8


@pytest.mark.parametrize("contents", [[deep(0, 65535), deep(1), png(2)], [png(0), png(1)]])
def test_a_set_that_uses_all_bits_or_has_no_16_is_read_once_and_written_as_if_there_were_no_depths(contents):
    source, reads = Fake(contents), []
    found = source.images()
    source.images = lambda: (reads.append(1), found)[1]
    download(source, limits())
    written = {file.name: file.read_bytes() for file in Path("data/dataset").iterdir()}
    assert len(reads) == 1
    assert Dataset().bit_depth == 16
    assert "bit_depth" not in json.loads(written["dataset.json"])
    download(Fake(contents), limits(bit_depth=16))
    assert {file.name: file.read_bytes() for file in Path("data/dataset").iterdir()} == written


def test_a_depth_that_is_given_holds_and_what_is_above_is_told():
    counts = download(Fake([deep(0, 1023), deep(1, 4095), png(2)]), limits(bit_depth=10))
    read = Dataset()
    assert read.bit_depth == 10
    assert (read.pixels(1) == 255).mean() > 0.6
    assert counts.warnings() == ["1 images hold values of more bits than data.bit_depth = 10; these became white."]
    assert json.loads((REPORTS / "summary.json").read_text())["bit_depth"] == 10
