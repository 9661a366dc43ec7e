"""A source of images that are made up."""

import io
from functools import partial
from typing import Literal

import numpy as np
from PIL import Image

from lightline.config.data import DigitsSource
from lightline.sources.base import SourceImage


def limits(max_rejected: int = 0, max_pixels: int = 10_000, bit_depth: int | Literal["auto"] = "auto") -> DigitsSource:
    settings = {"max_rejected": max_rejected, "max_pixels": max_pixels, "bit_depth": bit_depth, "corrections": None}
    return DigitsSource.model_validate({"source": "digits", **settings})


def png(number: int, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Fake:
    """A source of given contents; the class alternates."""

    classes = None

    def __init__(self, contents, refused=()):
        self.contents, self.refused = contents, refused

    def identity(self):
        return {}

    def images(self):
        yield from self.refused
        for number, content in enumerate(self.contents):
            yield SourceImage(f"{number:04d}.png", "ab"[number % 2], partial(bytes, content), len(content))
