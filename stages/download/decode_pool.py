"""Images on their way from a source to the dataset: read, decoded in full, digested and reduced to a thumbnail.

A process for each core does it: of a small image, most of the time is spent in Python, which threads cannot share.
"""

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from lightline.data.dataset import Row
from lightline.data.thumbnails import is_small, thumbnails
from lightline.errors import LightlineError
from lightline.sources.base import Refused, SourceImage
from lightline_predict import images
from lightline_predict.images import pixel_digest
from lightline_predict.machine import num_cores

_MOST_PROCESSES = 8
_IMAGES_PER_GROUP, _BYTES_PER_GROUP = 32, 2**20
_GROUPS_AHEAD, _BYTES_AHEAD = 16, 2**26  # read and not yet written
_POLL = 0.2  # seconds


def checked(
    found: Iterator[SourceImage | Refused], max_pixels: int, bit_depth: int = images.DEEPEST
) -> Generator[Row | Refused]:
    """Yield a row for each usable image, the reason for each other, in the source's order.

    max_pixels, bit_depth: see `lightline_predict.images.check`.
    To be closed: the processes last as long as it does.

    Raises:
        LightlineError: one of the processes has been killed.
    """
    pending: deque[tuple[int, Future[list[Row | Refused]]]] = deque()
    ahead = 0  # bytes handed to the processes
    # To fork takes a hundredth of a second, to start an interpreter half of one; but only Linux does it well.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(_num_processes(), context, _begin, (os.getpid(),))
    try:
        for group, num_bytes in _groups(found):
            pending.append((num_bytes, pool.submit(_check_all, group, max_pixels, bit_depth)))
            ahead += num_bytes
            while len(pending) > _GROUPS_AHEAD or ahead > _BYTES_AHEAD:
                num_bytes, rows = pending.popleft()
                ahead -= num_bytes
                yield from rows.result()
        for _, rows in pending:
            yield from rows.result()
    except BrokenProcessPool:
        raise LightlineError(
            "A process that decodes images was killed, most likely for want of memory. A smaller data.max_pixels "
            "refuses the largest images; else run the same command again with more memory free."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _num_processes() -> int:
    return min(_MOST_PROCESSES, num_cores())


def _begin(parent: int) -> None:
    """Leave Ctrl-C to the stage, which ends these processes, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL)
    os._exit(1)


def _groups(found: Iterator[SourceImage | Refused]) -> Iterator[tuple[list[SourceImage | Refused], int]]:
    """Yield images in groups worth handing to a process, each with its size in bytes."""
    group, num_bytes = [], 0
    for image in found:
        group.append(image)
        num_bytes += 0 if isinstance(image, Refused) else image.num_bytes
        if len(group) == _IMAGES_PER_GROUP or num_bytes >= _BYTES_PER_GROUP:
            yield group, num_bytes
            group, num_bytes = [], 0
    yield group, num_bytes


class _Checked(NamedTuple):
    """An image that decoded, and what its row needs; thumbnail: None while small pixels wait for those of others."""

    image: SourceImage
    encoded: bytes
    pixels: np.ndarray
    digest: str
    size: tuple[int, int]
    thumbnail: bytes | None
    bits: int | None

    def row(self, thumbnail: bytes | None) -> Row:
        image = self.image
        what = (image.id, self.encoded, image.class_name, *self.size, self.digest)
        return Row(*what, image.split, image.group, thumbnail, bits=self.bits)


def _check_all(group: list[SourceImage | Refused], max_pixels: int, bit_depth: int) -> list[Row | Refused]:
    done = [image if isinstance(image, Refused) else _check(image, max_pixels, bit_depth) for image in group]
    # Small pictures of one size are reduced at once: one by one it would take as long as decoding them.
    made = iter(thumbnails([one.pixels for one in done if isinstance(one, _Checked)]))
    return [one if isinstance(one, Refused) else one.row(next(made) or one.thumbnail) for one in done]


def _check(image: SourceImage, max_pixels: int, bit_depth: int) -> _Checked | Refused:
    try:
        found = images.check(image.read(), max_pixels, bit_depth)
    except images.UnusableImageError as reason:
        return Refused(image.id, str(reason))
    except OSError as error:
        return Refused(image.id, f"cannot be read: {error.strerror or error}")
    pixels = found.pixels
    height, width, _ = pixels.shape
    # Large pixels are not kept until the whole group is decoded.
    kept, thumbnail = (pixels, None) if is_small(pixels) else (pixels[:0], *thumbnails([pixels]))
    return _Checked(image, found.encoded, kept, pixel_digest(pixels), (height, width), thumbnail, found.bits)
