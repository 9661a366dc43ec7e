"""What is measured of every test image, to see where a classifier is wrong: light, contrast, sharpness and shape."""

import numpy as np

from lightline.data.dataset import Dataset
from lightline_predict.measures import measure_encoded


def measure(dataset: Dataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Measure the images of these rows: float64 [len(rows)], by name.

    brightness: mean grey, 0 to 255. contrast: its standard deviation. sharpness: that of its Laplacian, at most 256
    pixels a side. size: the square root of the number of pixels. aspect: width by height.
    """
    heights, widths = (dataset.column(side)[rows].astype(np.float64) for side in ("height", "width"))
    grey = [measure_encoded(dataset.encoded(int(row))) for row in rows]
    brightness, contrast, sharpness = np.array(grey, np.float64).reshape(-1, 3).T
    return {
        "brightness": brightness,
        "contrast": contrast,
        "sharpness": sharpness,
        "size": np.sqrt(heights * widths),
        "aspect": widths / heights,
    }
