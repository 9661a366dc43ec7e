"""What is measured of every test image, to see where a classifier is wrong: light, contrast, sharpness and shape."""

import numpy as np

from lightline.data.dataset import Dataset
from lightline_predict.images import decode_small

_SIDE = 256  # pixels that an image is brought down to: enough for all of these, and a photo is read in milliseconds


def measure(dataset: Dataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Measure the images of these rows: float64 [len(rows)], by name.

    brightness: mean grey, 0 to 255. contrast: its standard deviation. sharpness: that of its Laplacian, at most 256
    pixels a side. size: the square root of the number of pixels. aspect: width by height.
    """
    heights, widths = (dataset.column(side)[rows].astype(np.float64) for side in ("height", "width"))
    grey = [_measured(dataset.encoded(int(row))) for row in rows]
    brightness, contrast, sharpness = np.array(grey, np.float64).reshape(-1, 3).T
    return {
        "brightness": brightness,
        "contrast": contrast,
        "sharpness": sharpness,
        "size": np.sqrt(heights * widths),
        "aspect": widths / heights,
    }


def _measured(encoded: bytes) -> tuple[float, float, float]:
    grey = np.asarray(decode_small(encoded, _SIDE).convert("L"), np.float64)
    padded = np.pad(grey, 1, mode="edge")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * grey
    return float(grey.mean()), float(grey.std()), float(laplacian.std())
