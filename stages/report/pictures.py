"""Small pictures of the images for the page, each once, as base64 of JPEG or PNG."""

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from lightline.data.dataset import Dataset
from lightline.data.splits import stratified_choice
from lightline_predict.images import decode_small
from lightline_predict.machine import num_cores

MOST = 10_000  # test images that a page holds
MOST_TRAIN = 1_000  # training images among which it looks for neighbours
# Pixels of the longer side, by how many there are: 10,000 of 48 pixels take 20 MB.
_SIDES = ((500, 192), (2_000, 96), (MOST, 48))
_PNG_UP_TO = 16  # pixels a side: of so few, JPEG shows blocks
_QUALITY = 80


def sample(correct: np.ndarray, labels: np.ndarray, most: int = MOST) -> np.ndarray:
    """Choose the test images to show: all, or the wrong ones first and of the others as many of every class as can be.

    correct: bool [images]; labels: int [images]; gives int64 [at most `most`], ascending.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    wrong, right = np.flatnonzero(~correct), np.flatnonzero(correct)
    wrong = stratified_choice(labels, wrong, most, 0)
    return np.sort(np.concatenate([wrong, stratified_choice(labels, right, most - len(wrong), 0)]))


def side(num_images: int) -> int:
    """Give the pixels of a picture's longer side where there are so many."""
    return next(pixels for most, pixels in _SIDES if num_images <= most)


def pictures(dataset: Dataset, rows: Iterable[int], pixels: int) -> list[str]:
    """Make pictures of the images in these rows of the dataset; pixels: of the longer side."""
    with ThreadPoolExecutor(num_cores()) as pool:
        return list(pool.map(partial(_picture, dataset, pixels), (int(row) for row in rows)))


def _picture(dataset: Dataset, pixels: int, row: int) -> str:
    image = decode_small(dataset.encoded(row), pixels)
    buffer = io.BytesIO()
    if max(image.size) <= _PNG_UP_TO:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.convert("RGB").save(buffer, "JPEG", quality=_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()
