"""A picture in any format, and its pixels as they are read."""

import io

import numpy as np
from PIL import Image

from lightline_predict import images

LIMIT = 10_000  # pixels
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
RGB = Image.fromarray(COLOURS)


def saved(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def checked(image: Image.Image, file_format: str, **options) -> np.ndarray:
    """The pixels of a saved image, after making sure that what is stored gives the same."""
    result = images.check(saved(image, file_format, **options), LIMIT)
    assert result.encoded[:3] in (b"\xff\xd8\xff", b"\x89PN")
    np.testing.assert_array_equal(images.decode(result.encoded), result.pixels)
    assert result.pixels.dtype == np.uint8
    return result.pixels
