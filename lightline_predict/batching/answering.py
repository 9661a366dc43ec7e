"""Answers for the images of an input: read, decoded and classified in as many threads as there are cores, in order.

A thread takes a chunk of images from the bytes to the answers. Pillow and onnxruntime let other threads run while they
work, and a session that computes in the thread that calls it leaves none waiting for another; so no pixels go from one
process to another. What is answered together depends on the images alone, not on the number of threads or on time:
equal inputs give equal answers, to the last bit.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lightline_predict import images
from lightline_predict.batching.items import Item, UnreadableError
from lightline_predict.classifier import Classifier

_ENCODED = 2**25  # bytes of files in a chunk; a single one may be larger
_PIXELS = 2**25  # bytes of pixels that a thread holds before it has them answered
_LARGE = 2**26  # bytes of pixels from which on images are read one at a time, whatever the number of threads
_AT_ONCE = 32  # objects that are asked of S3 at once


@dataclass
class Row:
    """What is said of one image; see `lightline-predict batch --help`."""

    id: str
    error: str | None = None
    width: int | None = None
    height: int | None = None
    predicted: str | None = None
    confidence: float | None = None
    accepted: bool | None = None
    set: list[str] | None = None
    probabilities: np.ndarray | None = None
    embedding: np.ndarray | None = None


class Answering:
    """A model file, and threads that answer with it.

    model: opened with num_threads=1. num_threads: threads that decode and compute. batch_size: images that one of them
    takes at a time.
    """

    def __init__(self, model: Classifier, num_threads: int, batch_size: int):
        self._model, self._batch_size, self._num_threads = model, batch_size, num_threads
        self._readers = ThreadPoolExecutor(_AT_ONCE)  # has no threads until it is used
        self._one_large = threading.Lock()
        self._max_bytes = 8 * model.reading.max_pixels + 2**20  # of an image worth reading, as training has it

    def chunks(self, items: Iterable[Item], read_now: bool) -> Iterator[list[Item]]:
        """Divide images into chunks; read_now: read them as they come, as what comes from a stream has to be."""
        chunk: list[Item] = []
        size = 0
        for item in items:
            if item.size > self._max_bytes:
                limit = f"data.max_pixels = {self._model.reading.max_pixels}"
                item = item._replace(refused=f"{item.size} bytes are more than an image of {limit} can take")
            if chunk and size + item.size > _ENCODED:
                yield chunk
                chunk, size = [], 0
            chunk.append(_read_ahead(item) if read_now and not item.refused else item)
            size += 0 if item.refused else item.size
            if len(chunk) == self._batch_size:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def answer(self, chunks: Iterable[list[Item]]) -> Iterator[tuple[list[Item], list[Row]]]:
        """Yield the answers to each chunk, in order; a few chunks more than there are threads are held at a time."""
        waiting: deque[tuple[list[Item], Future[list[Row]]]] = deque()
        with ThreadPoolExecutor(self._num_threads) as pool:
            try:
                for chunk in chunks:
                    waiting.append((chunk, pool.submit(self._answer_chunk, chunk)))
                    if len(waiting) > self._num_threads + 1:
                        answered, future = waiting.popleft()
                        yield answered, future.result()
                while waiting:
                    answered, future = waiting.popleft()
                    yield answered, future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _answer_chunk(self, chunk: Sequence[Item]) -> list[Row]:
        rows = [Row(item.id, item.refused) for item in chunk]
        held: list[tuple[Row, np.ndarray]] = []
        size = 0
        for row, encoded in zip(rows, self._encoded(chunk), strict=True):
            if isinstance(encoded, str):
                row.error = encoded
                continue
            width, height = images.size_in_header(encoded)
            if (large := 3 * width * height > _LARGE) or size > _PIXELS:
                self._fill(held)
                held, size = [], 0
            if large:
                with self._one_large:
                    self._fill(self._decoded(row, encoded))
                continue
            decoded = self._decoded(row, encoded)
            held += decoded
            size += sum(pixels.nbytes for _, pixels in decoded)
        self._fill(held)
        return rows

    def _encoded(self, chunk: Sequence[Item]) -> Iterator[bytes | str]:
        """Yield the bytes of each image, or why there are none."""
        return self._readers.map(_read, chunk) if any(item.is_remote for item in chunk) else map(_read, chunk)

    def _decoded(self, row: Row, encoded: bytes) -> list[tuple[Row, np.ndarray]]:
        try:
            pixels = self._model.read(encoded).pixels
        except images.UnusableImageError as error:
            row.error = str(error)
            return []
        row.height, row.width = pixels.shape[:2]
        return [(row, pixels)]

    def _fill(self, held: Sequence[tuple[Row, np.ndarray]]) -> None:
        """Write the answers to pixels into their rows."""
        if not held:
            return
        answers = self._model.answers([pixels for _, pixels in held])
        for number, (row, _) in enumerate(held):
            row.predicted = answers.classes[number]
            row.probabilities = answers.probabilities[number]
            row.confidence = float(answers.probabilities[number].max())
            row.accepted = bool(answers.accepted[number])
            row.set = [self._model.classes[index] for index in np.flatnonzero(answers.set[number])]
            row.embedding = None if answers.embedding is None else answers.embedding[number]


def _read_ahead(item: Item) -> Item:
    encoded = _read(item)
    if isinstance(encoded, str):
        return item._replace(refused=encoded)
    return item._replace(read=lambda: encoded)


def _read(item: Item) -> bytes | str:
    if item.refused:
        return item.refused
    try:
        return item.read()
    except UnreadableError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
