"""Encoded images to 8-bit RGB pixels, in one way for every source.

- EXIF orientation is applied, so that the pixels stand as a viewer shows them.
- Grey becomes three equal channels; a palette is looked up; 16-bit values keep their upper 8 bits.
- Transparent pixels are laid over white; CMYK, YCbCr and LAB go through Pillow's conversion; colour profiles are ignored.
- Of an animation the first frame counts.
- 32-bit integer and float images have no agreed range and are refused.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps

# Modes whose stored bytes decode to the agreed pixels by themselves, and the formats every later reader knows.
_PLAIN_MODES = ("RGB", "L")
_PLAIN_FORMATS = ("JPEG", "PNG")


class UnusableImage(Exception):
    """The reason why an image is rejected, for a person."""


@dataclass(frozen=True)
class CheckedImage:
    """An image that decoded in full.

    encoded: JPEG or PNG bytes that `decode` turns into the agreed pixels.
    pixels: uint8 RGB, [height, width, 3].
    """

    encoded: bytes
    pixels: np.ndarray


def check(encoded: bytes, max_pixels: int) -> CheckedImage:
    """Decode an image in full; keep its bytes where they are plain, else write its pixels as PNG.

    Raises:
        UnusableImage: it cannot be read, is truncated, has more than max_pixels or no agreed conversion.
    """
    if not encoded:
        raise UnusableImage("the file is empty")
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if image.width * image.height > max_pixels:
                raise UnusableImage(f"{image.width}×{image.height} pixels are more than data.max_pixels = {max_pixels}")
            image.load()
            plain = image.mode in _PLAIN_MODES and image.format in _PLAIN_FORMATS and not _is_rotated(image)
            rgb = _to_rgb(image)
    except UnusableImage:
        raise
    # Pillow's readers raise whatever they stumble over in damaged bytes, struct.error and IndexError among it.
    except Exception as error:
        raise UnusableImage(_reason(error)) from None
    pixels = np.asarray(rgb)
    return CheckedImage(encoded if plain else encode(pixels), pixels)


def encode(pixels: np.ndarray) -> bytes:
    """uint8 pixels, [height, width, 3] or [height, width], as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def decode(encoded: bytes) -> np.ndarray:
    """Bytes that `check` gave back, as uint8 RGB [height, width, 3]."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


def _is_rotated(image: Image.Image) -> bool:
    return image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)


def _to_rgb(image: Image.Image) -> Image.Image:
    if _is_rotated(image):
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N"):
        return Image.fromarray((np.asarray(image.convert("I")) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnusableImage(
            f"pixels of mode {image.mode} (32-bit) have no agreed range; convert the image to 8 or 16 bits"
        )
    if image.mode in ("PA", "La", "RGBa") or "transparency" in image.info or "A" in image.getbands():
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image in a known format"
    return f"cannot be decoded: {error}" if str(error) else f"cannot be decoded: {type(error).__name__}"
