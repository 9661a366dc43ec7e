"""Grey thumbnails of 8×9 pixels, by which the split stage finds pictures that are nearly the same.

They are made where the pixels are at hand, and equal on every machine: whole numbers only, no order of sums.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 8, 9
SIZE = HEIGHT * WIDTH  # bytes
# A smaller picture is little more than its own thumbnail, and those of one kind look alike without being copies.
_SMALLEST = 16  # pixels a side
_SMALL = 64  # pixels a side up to which many are reduced at once
_RED, _GREEN, _BLUE = map(np.uint16, (77, 150, 29))  # 256ths of each in grey


def is_small(pixels: np.ndarray) -> bool:
    """Tell whether it costs little to keep these uint8 pixels [height, width, 3] until others are there too."""
    return max(pixels.shape[:2]) <= _SMALL


def thumbnails(pictures: Sequence[np.ndarray]) -> list[bytes | None]:
    """Make the thumbnail of each picture, uint8 [height, width, 3], as SIZE bytes; None below 16 pixels a side."""
    found: list[bytes | None] = [None] * len(pictures)
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, pixels in enumerate(pictures):
        if min(pixels.shape[:2]) < _SMALLEST:
            continue
        if is_small(pixels):
            by_shape[pixels.shape].append(number)
        else:
            found[number] = _reduced(pixels)
    for numbers in by_shape.values():
        stack = np.stack([pictures[number] for number in numbers])
        for number, thumbnail in zip(numbers, _reduced_at_once(stack), strict=True):
            found[number] = thumbnail.tobytes()
    return found


def _reduced(pixels: np.ndarray) -> bytes:
    return Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.BOX).convert("L").tobytes()


def _reduced_at_once(stack: np.ndarray) -> np.ndarray:
    """Reduce to uint8 [pictures, HEIGHT, WIDTH]; float32 holds every number on the way exactly: pictures are small."""
    _, height, width, _ = stack.shape
    grey = (stack[..., 0] * _RED + stack[..., 1] * _GREEN + stack[..., 2] * _BLUE) >> 8
    sums = _overlaps(height, HEIGHT) @ grey.astype(np.float32) @ _overlaps(width, WIDTH).T
    return (sums // (height * width)).astype(np.uint8)


@cache
def _overlaps(num_pixels: int, num_cells: int) -> np.ndarray:
    """Give how much of each pixel is in each cell, [num_cells, num_pixels], in parts of which a pixel has num_cells."""
    pixel, cell = np.arange(num_pixels) * num_cells, np.arange(num_cells)[:, None] * num_pixels
    shared = np.minimum(pixel + num_cells, cell + num_pixels) - np.maximum(pixel, cell)
    return np.maximum(shared, 0).astype(np.float32)
