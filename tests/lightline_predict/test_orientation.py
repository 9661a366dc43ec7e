"""An image is turned as it says of itself, wherever that stands."""

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from tests.support.pictures import COLOURS, RGB, checked


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation, file_format):
    # One bright corner on a grey ground, which no orientation but the first leaves where it is.
    picture = np.full((16, 24, 3), 64, np.uint8)
    picture[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = checked(Image.fromarray(picture), file_format, exif=exif)
    turned = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, -1),
        7: picture[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(picture),
    }
    np.testing.assert_allclose(pixels, turned[orientation], atol=4)  # JPEG loses a little


def xmp(orientation: int, *, element: bool = False) -> str:
    said = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if element else f'tiff:Orientation="{orientation}"'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description {said}/></rdf:RDF></x:xmpmeta>'


def raw_profile(orientation: int) -> PngInfo:
    """As ImageMagick writes it."""
    exif, info = Image.Exif(), PngInfo()
    exif[ExifTags.Base.Orientation] = orientation
    content = exif.tobytes()
    info.add_text("Raw profile type exif", f"\nexif\n{len(content):8}\n{content.hex()}\n", zip=True)
    return info


def xmp_text(*arguments, **options) -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp(*arguments, **options))
    return info


TURNED = {
    "raw profile in a PNG": ("PNG", {"pnginfo": raw_profile(6)}),
    "XMP in a PNG": ("PNG", {"pnginfo": xmp_text(6)}),
    "XMP in a PNG, as an element": ("PNG", {"pnginfo": xmp_text(6, element=True)}),
    "XMP in a JPEG": ("JPEG", {"xmp": xmp(6).encode(), "quality": 100, "subsampling": 0}),
    "XMP in a WebP": ("WEBP", {"xmp": xmp(6).encode(), "lossless": True}),
    "XMP in a TIFF": ("TIFF", {"tiffinfo": {700: xmp(6).encode()}}),
}


@pytest.mark.parametrize("where", TURNED)
def test_orientation_is_found_wherever_it_stands(where):
    file_format, options = TURNED[where]
    picture = np.full((16, 24, 3), 64, np.uint8)
    picture[:8, :8] = 255
    pixels = checked(Image.fromarray(picture), file_format, **options)
    np.testing.assert_allclose(pixels, np.rot90(picture, -1), atol=4)


def test_exif_counts_more_than_xmp():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    np.testing.assert_array_equal(checked(RGB, "PNG", exif=exif, pnginfo=xmp_text(6)), COLOURS[::-1, ::-1])


@pytest.mark.parametrize("text", ["", "\nexif\n 8\nno hexadecimal", "\nexif\n 8\n4578696600001234"])
def test_a_raw_profile_that_is_no_exif_turns_nothing(text):
    info = PngInfo()
    info.add_text("Raw profile type exif", text)
    np.testing.assert_array_equal(checked(RGB, "PNG", pnginfo=info), COLOURS)
