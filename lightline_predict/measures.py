"""What is measured of an image, to see on what a classifier is wrong and whether its images have changed."""

import numpy as np
from PIL import Image

from lightline_predict.images import decode_small

MEASURED = ("brightness", "contrast", "sharpness")
_SIDE = 256  # pixels that an image is brought down to: enough for all of these, and a photo is read in milliseconds


def measure_encoded(encoded: bytes) -> tuple[float, float, float]:
    """Measure an image of JPEG or PNG bytes that were checked, by MEASURED; see `measure_small`."""
    return measure_small(decode_small(encoded, _SIDE))


def measure_pixels(pixels: np.ndarray) -> tuple[float, float, float]:
    """Measure uint8 RGB [height, width, 3], by MEASURED; of a large JPEG that differs a little from its bytes."""
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    return measure_small(image)


def measure_small(image: Image.Image) -> tuple[float, float, float]:
    """Give the mean grey, 0 to 255, its standard deviation, and that of its Laplacian."""
    grey = np.asarray(image.convert("L"), np.float64)
    padded = np.pad(grey, 1, mode="edge")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * grey
    return float(grey.mean()), float(grey.std()), float(laplacian.std())
