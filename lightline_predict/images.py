"""Encoded images to 8-bit RGB pixels, in one way for every source.

- Orientation in EXIF or XMP is applied, so that the pixels stand as a viewer shows them.
- Grey becomes three equal channels; a palette is looked up.
- Of 16 bits a channel, those in use (bit_depth) become 8: 16 keeps the upper 8, 12 takes 4095 for white. In PPM and
  JPEG 2000 in colour, AVIF and CMYK, the file's own white holds. A grey that is marked transparent stays, in 16 bits.
- Transparent pixels are laid over white; CMYK, YCbCr and LAB go through Pillow's conversion; embedded colour profiles
  and gamma are ignored.
- Of an animation the first frame counts.
- Signed, 32-bit integer and float images have no agreed range and are refused.

What the lines in a model card do (`lightline.model_file.card`) is the same;
tests/lightline/model_file/test_card.py holds the two together.
"""

import hashlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

# Only readers of plain bitmaps: others start programs (EPS), draw (WMF) or hold whole archives of images.
# The commonest come first, as each is tried in turn.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
_16_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
_16_BIT_COLOURS = ("RGB;16", "RGBX;16", "RGBA;16", "LA;16")  # how Pillow's names for their raw form begin
_TURNED_BY = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow looks for an orientation
DEEPEST = 16  # bits a channel
# What may stay as it came: `decode` makes the agreed pixels of it. MPO is a JPEG with further pictures behind it.
_KEPT_MODES, _KEPT_FORMATS = ("RGB", "L"), ("JPEG", "MPO", "PNG")

# Pillow's own limit warns at one size and refuses at another; `check` refuses at data.max_pixels before decoding.
Image.MAX_IMAGE_PIXELS = None
# Bytes of a PNG's texts and colour profile, of which nothing but an orientation is used; Pillow's own limit is 1 MiB.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**26


class UnusableImageError(Exception):
    """The reason why an image is rejected, for a person."""


@dataclass(frozen=True)
class Reading:
    """How a set's images are read, which a model file says of itself; see `check`."""

    max_pixels: int = 100_000_000
    bit_depth: int = DEEPEST


@dataclass(frozen=True)
class CheckedImage:
    """An image that decoded in full.

    encoded: JPEG or PNG bytes that `decode` turns into `pixels`; empty where they were not asked for.
    pixels: uint8 RGB, [height, width, 3].
    bits: of an image of 16 bits a channel, how many its colours take, at least 8; of others None.
    """

    encoded: bytes
    pixels: np.ndarray
    bits: int | None = None


def check(
    encoded: bytes, max_pixels: int, bit_depth: int = DEEPEST, keep: bool = True, limit: str = "data.max_pixels"
) -> CheckedImage:
    """Decode an image in full; keep its bytes where they are JPEG or PNG of a plain mode, else write PNG.

    bit_depth: 8 to 16, the bits in use where there are 16 a channel; values that take more are white.
    keep: whether bytes are wanted: writing PNG takes longer than reading. limit: what people know max_pixels by.

    Raises:
        UnusableImageError: it cannot be read, is truncated, has more than max_pixels or no agreed conversion.
    """
    if not encoded:
        raise UnusableImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            _refuse_bomb(image, max_pixels, limit)
            rawmode = _rawmode(image)
            image.load()
            kept = image.mode in _KEPT_MODES and image.format in _KEPT_FORMATS and "transparency" not in image.info
            image, bits = _eight_bits(image, encoded, rawmode, bit_depth)
            standard = _standard(image)
    except UnusableImageError:
        raise
    # Pillow's readers raise whatever they stumble over in damaged bytes, struct.error and IndexError among it.
    except Exception as error:
        raise UnusableImageError(_reason(error)) from None
    if not keep:
        return CheckedImage(b"", _pixels(standard), bits)
    kept = kept and (bits is None or bit_depth == DEEPEST)
    return CheckedImage(encoded if kept else _png(standard), _pixels(standard), bits)


def size_in_header(encoded: bytes) -> tuple[int, int]:
    """Give width and height as the file states them, before it is turned upright; 0 where it cannot be read."""
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            return image.size
    except Exception:  # as in `check`, which says what is wrong
        return (0, 0)


def encode(pixels: np.ndarray) -> bytes:
    """Encode uint8 pixels, RGB [height, width, 3] or grey [height, width], as PNG."""
    return _png(Image.fromarray(pixels))


def decode(encoded: bytes) -> np.ndarray:
    """Decode bytes that `check` gave back to uint8 RGB [height, width, 3]."""
    with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
        return _pixels(_upright(image))


def checked_pixels(pixels: np.ndarray) -> np.ndarray:
    """Give pixels back where they are uint8 RGB [height, width, 3].

    Raises:
        UnusableImageError: they are something else.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        found = f"{pixels.dtype} {list(pixels.shape)}"
        raise UnusableImageError(f"pixels are uint8 RGB [height, width, 3]; these are {found}")
    return pixels


def pixels_of(image: Image.Image) -> np.ndarray:
    """Make pixels of an opened image: uint8 RGB [height, width, 3], as `check` does of its file.

    Raises:
        UnusableImageError: it has 16 bits a channel, of which Pillow has lost some by now, or no agreed conversion.
    """
    if image.mode.startswith("I;16"):
        raise UnusableImageError("of images of 16 bits a channel the file is needed, as bytes or by its path")
    return _pixels(_standard(_upright(image)))


def decode_small(encoded: bytes, side: int) -> Image.Image:
    """Decode to RGB or grey, upright, with the longer side at most `side` pixels: a JPEG in a fraction of its time."""
    with Image.open(io.BytesIO(encoded)) as image:
        image.draft(None, (side, side))
        small = _upright(image)
    small.thumbnail((side, side), Image.Resampling.BOX)
    return small


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Mode and pixels alone: what the image carried beside them (EXIF, profiles) has been applied or does not count.
    Image.fromarray(np.asarray(image)).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _refuse_bomb(image: Image.Image, max_pixels: int, limit: str) -> None:
    if image.width * image.height > max_pixels:
        size = f"{image.width}×{image.height}"
        raise UnusableImageError(f"{size} pixels are more than {limit} = {max_pixels}")


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # a PNG may hold its EXIF behind the pixels
    # Looking for the tag costs a third of decoding a small image, and most have none.
    if _TURNED_BY.isdisjoint(image.info) and image.format in _KEPT_FORMATS:
        return image
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever Pillow stumbles over in what is no EXIF at all, and turns nothing
        return image
    return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _rawmode(image: Image.Image) -> str:
    """Say how the pixels lie in the file, in Pillow's words; forgotten once they are loaded."""
    tiles: Any = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _eight_bits(image: Image.Image, encoded: bytes, rawmode: str, bit_depth: int) -> tuple[Image.Image, int | None]:
    """Turn an image upright, make 16 bits a channel 8, and tell how many of the 16 are in use; None if it had fewer."""
    image = _upright(image)
    if image.mode in _16_BIT_MODES or (image.mode == "I" and image.format == "PPM"):
        values = np.asarray(image.convert("I"))
        bits = max(8, int(values.max()).bit_length())
        return Image.fromarray(_upper_8(values, bit_depth)), bits
    if not rawmode.startswith(_16_BIT_COLOURS):
        return image, None
    # Of 16-bit colours Pillow keeps the upper bytes, which say how many bits there are.
    upper = np.asarray(image)
    bits = 8 + int(upper[..., :3].max()).bit_length()
    if bit_depth < DEEPEST:
        values = upper[..., :3].astype(np.uint16) << 8 | _lower_bytes(encoded, rawmode)
        image = Image.fromarray(np.concatenate([_upper_8(values, bit_depth), upper[..., 3:]], axis=2))
    return image, bits


def _upper_8(values: np.ndarray, bit_depth: int) -> np.ndarray:
    return np.minimum(values >> (bit_depth - 8), 255).astype(np.uint8)


def _lower_bytes(encoded: bytes, rawmode: str) -> np.ndarray:
    """Read 16-bit colours as uint8 [height, width, 3], as Pillow does when told that the bytes lie the other way."""
    other_end = "RGBA" if rawmode.startswith("LA") else rawmode[:-1] + ("L" if rawmode.endswith("B") else "B")
    with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
        tiles: Any = image.tile
        image.tile = [
            tile._replace(args=(other_end, *tile.args[1:]) if isinstance(tile.args, tuple) else other_end)
            for tile in tiles
        ]
        pixels = np.asarray(_upright(image))
    # As RGBA, the two bytes of grey and the two of alpha.
    return pixels[..., [1, 1, 1]] if rawmode.startswith("LA") else pixels[..., :3]


def _standard(image: Image.Image) -> Image.Image:
    """Bring an image to the agreed pixels, as mode RGB or, of the same meaning and a third of the size, L."""
    if image.mode in ("I", "F"):
        raise UnusableImageError(
            f"pixels of mode {image.mode} (signed or of 32 bits) have no agreed range; convert the image to 8 or 16 "
            "bits without a sign"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in _KEPT_MODES else image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not an image in a known format ({', '.join(_FORMATS)})"
    return f"cannot be decoded: {error}" if str(error) else f"cannot be decoded: {type(error).__name__}"


def pixel_digest(pixels: np.ndarray) -> str:
    """Compute the SHA-256 of uint8 pixels [height, width, 3] and their size, in hexadecimal."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
