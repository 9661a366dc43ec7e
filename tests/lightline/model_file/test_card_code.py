"""The code in the model card reads pictures as training did."""

import gc
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from lightline.model_file.card import model_card
from lightline_predict import images
from lightline_predict.classifier import Classifier
from tests.support.cards import METRICS, SECTIONS, SETTINGS, SPLITS
from tests.support.deep_images import png_of_16_bits, tiff, with_chunk
from tests.support.pictures import saved
from tests.support.samples import random_pixels


def turned(where: str) -> bytes:
    exif, info = Image.Exif(), PngInfo()
    exif[ExifTags.Base.Orientation] = 6
    if where == "EXIF":
        return saved(RGB, "JPEG", exif=exif)
    if where == "raw profile":
        info.add_text("Raw profile type exif", f"\nexif\n{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n", zip=True)
    else:
        info.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="6"/>')
    return saved(RGB, "PNG", pnginfo=info)


def transparent(mode: str, file_format: str = "PNG") -> bytes:
    """The shape is in the alpha channel alone, as in many an icon."""
    image = Image.new(mode, (33, 40))
    image.putalpha(Image.fromarray(random_pixels(40, 33, seed=1)))
    return saved(image, file_format)


RGB = Image.fromarray(random_pixels(40, 33, 3))


PALETTE = RGB.convert("P", palette=Image.Palette.ADAPTIVE)


VALUES = np.random.default_rng(3).integers(0, 4096, (40, 33, 4), dtype=np.uint16)


PICTURES = {
    "photo": saved(RGB, "JPEG"),
    **{f"turned by {where}": turned(where) for where in ("EXIF", "raw profile", "XMP")},
    "grey": saved(RGB.convert("L"), "PNG"),
    "black and white": saved(RGB.convert("1"), "PNG"),
    "palette": saved(PALETTE, "PNG"),
    **{f"{mode} icon": transparent(mode) for mode in ("RGBA", "LA")},
    "WebP icon": transparent("RGBA", "WEBP"),
    "PA icon": transparent("PA", "TIFF"),
    "palette with a transparent colour": saved(PALETTE, "PNG", transparency=3),
    "palette with alpha": saved(PALETTE, "PNG", transparency=bytes(range(256))),
    "GIF with a transparent colour": saved(PALETTE, "GIF", transparency=3),
    "transparent colour": saved(Image.new("RGB", (9, 9), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
    "transparent grey": saved(Image.new("L", (9, 9), 7), "PNG", transparency=7),
    "CMYK": saved(RGB.convert("CMYK"), "JPEG"),
    **{mode: saved(RGB.convert(mode), "TIFF") for mode in ("YCbCr", "LAB")},
    "16-bit grey": png_of_16_bits(VALUES[..., :1]),
    "16-bit grey above": png_of_16_bits(VALUES[..., :1] * 9),
    "16-bit PGM": b"P5 33 40 65535\n" + VALUES[..., 0].astype(">u2").tobytes(),
    **{f"16-bit TIFF {order}": tiff(VALUES[..., :1], order) for order in "<>"},
    "colour profile and gamma": with_chunk(
        saved(RGB, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()),
        b"gAMA",
        (10**5).to_bytes(4),
    ),
    **{
        f"animated {kind}": saved(RGB, kind, save_all=True, append_images=[RGB.rotate(90)])
        for kind in ("GIF", "PNG", "WEBP", "TIFF", "MPO")
    },
    **{kind: saved(RGB, kind) for kind in ("BMP", "JPEG2000", "AVIF", "PPM")},
}


COLOURS_OF_16_BITS = {f"16-bit, {channels} channels": png_of_16_bits(VALUES[..., :channels]) for channels in (2, 3, 4)}
COLOURS_OF_16_BITS |= {f"16-bit RGB TIFF {order}": tiff(VALUES[..., :3], order) for order in "<>"}


class InUse(NamedTuple):
    """A card's lines, run in a folder as a reader of the card has it."""

    code: CodeType
    model: Classifier
    bit_depth: int

    def answer(self, picture: bytes, capsys) -> tuple[np.ndarray, str, float]:
        Path("image.jpg").write_bytes(picture)
        names: dict[str, Any] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # a script leaves closing its file to its end
            try:
                exec(self.code, names)
            finally:
                pixels = np.asarray(names.pop("image"))
                gc.collect()
        name, probability = capsys.readouterr().out.split()
        return pixels, name, float(probability)


@pytest.fixture(scope="module", params=[("model.onnx", 16), ("model.int8.onnx", 12)], ids=str)
def in_use(request, exported, tmp_path_factory) -> Iterator[InUse]:
    file, bit_depth = request.param
    checkpoint, exported_file = exported("cnn", crop_pct=0.9)
    model = onnx.load(exported_file)
    for entry in model.metadata_props:
        if entry.key == "preprocessing":
            entry.value = json.dumps(json.loads(entry.value) | {"bit_depth": bit_depth})
    folder = tmp_path_factory.mktemp("use")
    path = folder / "models" / file
    path.parent.mkdir()
    onnx.save(model, path)
    quantization = "Rounded." if "int8" in file else None
    card = model_card(
        checkpoint, SPLITS, METRICS, SETTINGS, replace(SECTIONS, quantization=quantization), bit_depth=bit_depth
    )
    lines = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
    assert len(lines.splitlines()) <= (16 if bit_depth == 16 else 17)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield InUse(compile(lines, "model card", "exec"), Classifier(path), bit_depth)


@pytest.mark.parametrize("picture", PICTURES)
def test_its_code_answers_as_the_model_does_from_what_training_saw(picture, in_use, capsys):
    content = PICTURES[picture]
    pixels, name, probability = in_use.answer(content, capsys)
    checked = images.check(content, 10**6, in_use.bit_depth)
    np.testing.assert_array_equal(pixels, images.decode(checked.encoded))
    expected = in_use.model.classify(content)
    assert (name, probability) == (expected[0], pytest.approx(expected[1], abs=1e-6))


@pytest.mark.parametrize("picture", COLOURS_OF_16_BITS)
def test_its_code_reads_16_bit_colours_as_training_did_or_refuses_them(picture, in_use, capsys):
    content = COLOURS_OF_16_BITS[picture]
    if in_use.bit_depth < 16:
        with pytest.raises(AssertionError, match=r"16-bit colours: python -m lightline predict reads them"):
            in_use.answer(content, capsys)
    else:
        expected = images.check(content, 10**6).pixels
        np.testing.assert_array_equal(in_use.answer(content, capsys)[0], expected)


@pytest.mark.parametrize("values", [VALUES[..., 0].astype(np.float32), VALUES[..., 0].astype(np.int32)])
def test_its_code_refuses_what_training_refused(values, in_use, capsys):
    content = saved(Image.fromarray(values), "TIFF")
    with pytest.raises(AssertionError, match="pixels without an agreed range"):
        in_use.answer(content, capsys)
    with pytest.raises(images.UnusableImageError, match="have no agreed range"):
        in_use.model.classify(content)
