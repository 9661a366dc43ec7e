"""Encoded images to 8-bit RGB pixels, in one way for every source.

- EXIF orientation is applied, so that the pixels stand as a viewer shows them.
- Grey becomes three equal channels; a palette is looked up; 16-bit values keep their upper 8 bits.
- Transparent pixels are laid over white; CMYK, YCbCr and LAB go through Pillow's conversion; embedded colour profiles
  are ignored.
- Of an animation the first frame counts.
- 32-bit integer and float images have no agreed range and are refused.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps

# Only readers of plain bitmaps: others start programs (EPS), draw (WMF) or hold whole archives of images.
# The commonest come first, as each is tried in turn.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
_16_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
# What may stay as it came: `decode` makes the agreed pixels of it. MPO is a JPEG with further pictures behind it.
_KEPT_MODES, _KEPT_FORMATS = ("RGB", "L"), ("JPEG", "MPO", "PNG")

# Pillow's own limit warns at one size and refuses at another; `check` refuses at data.max_pixels before decoding.
Image.MAX_IMAGE_PIXELS = None


class UnusableImageError(Exception):
    """The reason why an image is rejected, for a person."""


@dataclass(frozen=True)
class CheckedImage:
    """An image that decoded in full.

    encoded: JPEG or PNG bytes that `decode` turns into `pixels`.
    pixels: uint8 RGB, [height, width, 3].
    """

    encoded: bytes
    pixels: np.ndarray


def check(encoded: bytes, max_pixels: int) -> CheckedImage:
    """Decode an image in full; keep its bytes where they are JPEG or PNG of a plain mode, else write PNG.

    Raises:
        UnusableImageError: it cannot be read, is truncated, has more than max_pixels or no agreed conversion.
    """
    if not encoded:
        raise UnusableImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            _refuse_bomb(image, max_pixels)
            image.load()
            kept = image.mode in _KEPT_MODES and image.format in _KEPT_FORMATS and "transparency" not in image.info
            standard = _standard(image)
    except UnusableImageError:
        raise
    # Pillow's readers raise whatever they stumble over in damaged bytes, struct.error and IndexError among it.
    except Exception as error:
        raise UnusableImageError(_reason(error)) from None
    return CheckedImage(encoded if kept else _png(standard), _pixels(standard))


def encode(pixels: np.ndarray) -> bytes:
    """uint8 pixels, RGB [height, width, 3] or grey [height, width], as PNG."""
    return _png(Image.fromarray(pixels))


def decode(encoded: bytes) -> np.ndarray:
    """Bytes that `check` gave back, as uint8 RGB [height, width, 3]."""
    with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
        return _pixels(_upright(image))


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Mode and pixels alone: what the image carried beside them (EXIF, profiles) has been applied or does not count.
    Image.fromarray(np.asarray(image)).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _refuse_bomb(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        size = f"{image.width}×{image.height}"
        raise UnusableImageError(f"{size} pixels are more than data.max_pixels = {max_pixels}")


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # a PNG may hold its EXIF behind the pixels
    # Looking for the tag costs a third of decoding a small image, and most have none.
    if "exif" not in image.info and image.format in _KEPT_FORMATS:
        return image
    if image.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9):
        return image
    return ImageOps.exif_transpose(image)


def _standard(image: Image.Image) -> Image.Image:
    """The agreed pixels, as mode RGB or, of the same meaning and a third of the size, L."""
    image = _upright(image)
    if image.mode in _16_BIT_MODES or (image.mode == "I" and image.format == "PPM"):
        return Image.fromarray((np.asarray(image.convert("I")) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnusableImageError(
            f"pixels of mode {image.mode} (32-bit) have no agreed range; convert the image to 8 or 16 bits"
        )
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "RGBa", "La"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in _KEPT_MODES else image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image in a known format"
    return f"cannot be decoded: {error}" if str(error) else f"cannot be decoded: {type(error).__name__}"
