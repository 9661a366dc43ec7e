"""Encoded images to pixels, in threads: what comes at once is handed over together, as a hand-over costs more than a
small image."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from lightline_predict.classifier import Classifier
from lightline_predict.images import CheckedImage, Reading, check

_TINY, _TINY_PIXELS = 2**12, 2**14  # bytes, and what they may say that they unfold to
_SMALL = 2**15  # bytes
_TOGETHER = 16  # small images a hand-over

_Job = tuple[bytes, Reading, asyncio.Future[CheckedImage]]


class Decoder:
    """A few threads that decode."""

    def __init__(self, threads: int, most_pixels: int):
        self._threads = ThreadPoolExecutor(threads, "decode")
        self._most_pixels = most_pixels
        self._waiting: list[_Job] = []
        self._loop = asyncio.get_running_loop()

    def read(self, classifier: Classifier, encoded: bytes) -> asyncio.Future[CheckedImage]:
        """Decode an image as those of the training were; the future raises UnusableImageError where that cannot be."""
        future, reading = self._loop.create_future(), classifier.reading
        job = (encoded, reading, future)
        if _is_tiny(encoded):
            _deliver([job], [self._checked(encoded, reading)])
            return future
        if not self._waiting:
            self._loop.call_soon(self._hand_over)
        self._waiting.append(job)
        return future

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)

    def _hand_over(self) -> None:
        jobs, self._waiting = self._waiting, []
        small = [job for job in jobs if len(job[0]) <= _SMALL]
        groups = [small[start : start + _TOGETHER] for start in range(0, len(small), _TOGETHER)]
        for group in [*groups, *([job] for job in jobs if len(job[0]) > _SMALL)]:
            self._threads.submit(self._decode, group)

    def _decode(self, jobs: list[_Job]) -> None:
        jobs = [job for job in jobs if not job[2].done()]  # whom nobody waits for any more
        done = [self._checked(encoded, reading) for encoded, reading, _ in jobs]
        self._loop.call_soon_threadsafe(_deliver, jobs, done)

    def _checked(self, encoded: bytes, reading: Reading) -> CheckedImage | Exception:
        limits = (self._most_pixels, "--max-pixels"), (reading.max_pixels, "the model's data.max_pixels")
        most_pixels, limit = min(limits)
        try:
            return check(encoded, most_pixels, reading.bit_depth, keep=False, limit=limit)
        except Exception as error:  # a MemoryError among them: the one who asked is told, the others are answered
            return error


def _is_tiny(encoded: bytes) -> bool:
    """Tell whether an image is decoded sooner than a thread could be woken: a small PNG, by its own first chunk."""
    if len(encoded) > _TINY or not encoded.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        return False
    return int.from_bytes(encoded[16:20]) * int.from_bytes(encoded[20:24]) <= _TINY_PIXELS


def _deliver(jobs: list[_Job], done: list[CheckedImage | Exception]) -> None:
    for (*_, future), result in zip(jobs, done, strict=True):
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
