"""Every kind of image becomes 8-bit RGB in one documented way, or is refused with a reason."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from lightline_predict import images
from tests.support.deep_images import png_of_16_bits, tiff, with_chunk
from tests.support.pictures import COLOURS, LIMIT, RGB, checked, saved


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"])
def test_colour_is_kept_as_it_is(file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    np.testing.assert_array_equal(checked(RGB, file_format, **options), COLOURS)


@pytest.mark.parametrize(("mode", "file_format"), [("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "PNG"), ("L", "PNG")])
def test_plain_jpeg_and_png_are_stored_byte_for_byte(mode, file_format):
    encoded = saved(RGB.convert(mode), file_format)
    assert images.check(encoded, LIMIT).encoded == encoded


def test_a_jpeg_with_further_pictures_behind_it_counts_as_a_jpeg():
    encoded = saved(RGB, "MPO", save_all=True, append_images=[ImageOps.invert(RGB)])
    result = images.check(encoded, LIMIT)
    assert result.encoded == encoded
    np.testing.assert_array_equal(result.pixels, np.asarray(Image.open(io.BytesIO(encoded))))


def test_grey_becomes_three_equal_channels():
    grey = np.asarray(RGB.convert("L"))
    np.testing.assert_array_equal(checked(RGB.convert("L"), "PNG"), np.stack([grey] * 3, axis=2))


def test_black_and_white_becomes_0_and_255():
    assert set(np.unique(checked(RGB.convert("1"), "PNG"))) == {0, 255}


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_keeps_its_upper_8_bits(file_format):
    values = np.random.default_rng(1).integers(0, 65536, (6, 9), dtype=np.uint16)
    pixels = checked(Image.fromarray(values), file_format)
    np.testing.assert_array_equal(pixels[:, :, 0], values >> 8)


def test_big_endian_16_bit_grey_keeps_its_upper_8_bits():
    values = np.random.default_rng(1).integers(0, 65536, (6, 9), dtype=np.uint16)
    image = Image.frombytes("I;16B", (9, 6), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(checked(image, "TIFF")[:, :, 1], values >> 8)


def twelve_bits(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(2**11, 2**12, (6, 9, *shape), dtype=np.uint16)


DEEP = {
    "grey PNG": (png_of_16_bits, 1),
    "grey and alpha PNG": (png_of_16_bits, 2),
    "RGB PNG": (png_of_16_bits, 3),
    "RGBA PNG": (png_of_16_bits, 4),
    **{
        f"{channels} channels, {order} TIFF, {'deflate' if deflate else 'plain'}": (
            lambda values, order=order, deflate=deflate: tiff(values, order, deflate=deflate),
            channels,
        )
        for channels in (1, 3)
        for order in "<>"
        for deflate in (False, True)
    },
    "PGM": (lambda values: b"P5 9 6 65535\n" + values.astype(">u2").tobytes(), 1),
}


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("bit_depth", [8, 11, 12, 14, 16])
def test_of_16_bits_those_in_use_become_8(kind, bit_depth):
    write, channels = DEEP[kind]
    values = twelve_bits(channels)
    if channels in (2, 4):
        values[..., -1] = 65535  # opaque
    encoded = write(values)
    result = images.check(encoded, LIMIT, bit_depth)
    colours = values[..., :3] if channels > 2 else np.repeat(values[..., :1], 3, axis=2)
    np.testing.assert_array_equal(result.pixels, np.minimum(colours >> (bit_depth - 8), 255))
    np.testing.assert_array_equal(images.decode(result.encoded), result.pixels)
    assert result.bits == 12


def test_of_16_bit_colours_alpha_keeps_its_upper_8_bits():
    values = np.full((2, 2, 4), 4095, np.uint16)
    values[..., :3], values[..., 3] = 0, 0x8000
    np.testing.assert_allclose(images.check(png_of_16_bits(values), LIMIT, 12).pixels, 127, atol=1)


def test_16_bit_colours_of_which_all_bits_are_in_use_stay_byte_for_byte():
    encoded = png_of_16_bits(twelve_bits(3) * 16)
    assert images.check(encoded, LIMIT).encoded == encoded


@pytest.mark.parametrize(("largest", "bits"), [(0, 8), (255, 8), (256, 9), (4095, 12), (4096, 13), (65535, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_how_many_bits_are_in_use_is_what_the_largest_value_takes(largest, bits, channels):
    values = np.zeros((3, 3, channels), np.uint16)
    values[1, 1, -1] = largest
    assert images.check(png_of_16_bits(values), LIMIT).bits == bits


def test_images_of_8_bits_have_no_bits_to_choose_from():
    encoded = saved(RGB, "PNG")
    assert images.check(encoded, LIMIT, 12) == images.CheckedImage(encoded, pytest.approx(COLOURS), None)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_transparent_pixels_are_laid_over_white(mode):
    image = RGB.convert("P").convert(mode) if mode == "PA" else RGB.convert(mode)
    image.putalpha(Image.fromarray(np.full((6, 9), 0, np.uint8)))
    assert (checked(image, "TIFF" if mode == "PA" else "PNG") == 255).all()


def test_half_transparent_pixels_are_mixed_with_white():
    image = Image.new("RGBA", (2, 2), (0, 100, 200, 128))
    np.testing.assert_allclose(checked(image, "PNG")[0, 0], [127, 177, 227], atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_colour_that_is_marked_transparent_becomes_white(mode):
    image = Image.new(mode, (2, 2))
    transparent = (0, 0, 0) if mode == "RGB" else 0
    assert (checked(image, "PNG", transparency=transparent) == 255).all()


def test_a_palette_is_looked_up():
    image = RGB.convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(checked(image, "PNG"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("mode", "file_format"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("LAB", "TIFF")]
)
def test_other_colour_spaces_go_through_pillow(mode, file_format):
    with Image.open(io.BytesIO(saved(RGB.convert(mode), file_format))) as image:
        assert image.mode == mode
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(checked(RGB.convert(mode), file_format), expected)


@pytest.mark.parametrize(
    ("kind", "begin"),
    [(b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\1\0\0\0"), (b"iCCP", b"icc\0\0"), (b"tEXt", b"Comment\0")],
)
def test_a_png_may_hold_megabytes_of_text_or_a_large_profile(kind, begin):
    content = b"x" * 3_000_000
    encoded = with_chunk(saved(RGB, "PNG"), kind, begin + (content if kind == b"tEXt" else zlib.compress(content)))
    result = images.check(encoded, LIMIT)
    np.testing.assert_array_equal(result.pixels, COLOURS)
    np.testing.assert_array_equal(images.decode(result.encoded), COLOURS)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "TIFF", "WEBP"])
def test_the_first_frame_of_an_animation_counts(file_format):
    first, second = Image.new("RGB", (4, 3), "red"), Image.new("RGB", (4, 3), "blue")
    options = {"lossless": True} if file_format == "WEBP" else {}
    assert checked(first, file_format, save_all=True, append_images=[second], **options)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (2_000, 1), (1, 2_000)])
def test_extreme_sizes_are_images_too(size):
    assert checked(Image.new("RGB", size), "PNG").shape == (size[1], size[0], 3)


def test_the_same_pixels_are_stored_as_the_same_bytes():
    assert images.encode(COLOURS) == images.encode(COLOURS.copy())


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_truncated_image_is_refused(file_format):
    large = Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    encoded = saved(large, file_format)
    with pytest.raises(images.UnusableImageError, match=r"cannot be decoded|not an image"):
        images.check(encoded[: len(encoded) * 2 // 3], LIMIT)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_32_bit_values_have_no_agreed_range(mode):
    values = np.zeros((3, 3), np.float32 if mode == "F" else np.int32)
    with pytest.raises(images.UnusableImageError, match=f"mode {mode} .*convert the image to 8 or 16 bits"):
        images.check(saved(Image.fromarray(values), "TIFF"), LIMIT)


def test_signed_values_have_no_agreed_range():
    with pytest.raises(images.UnusableImageError, match=r"mode I \(signed or of 32 bits\) have no agreed range"):
        images.check(tiff(np.zeros((3, 3, 1), np.int16), sample_format=2), LIMIT)


def test_an_empty_file_is_told_apart():
    with pytest.raises(images.UnusableImageError, match="the file is empty"):
        images.check(b"", LIMIT)


@pytest.mark.parametrize("content", [b"just text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x00" * 99])
def test_what_is_no_bitmap_is_refused(content):
    with pytest.raises(images.UnusableImageError, match="not an image in a known format"):
        images.check(content, LIMIT)


def test_a_pixel_bomb_is_refused_before_it_unfolds(monkeypatch):
    bomb = saved(Image.new("1", (20_000, 10_000)), "PNG")  # 25 KB that unfold to 200 megapixels
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("the bomb was decoded"))
    with pytest.raises(images.UnusableImageError, match=r"20000×10000 pixels are more than data.max_pixels = 10000"):
        images.check(bomb, LIMIT)
