"""One line on a terminal that says how far it is; nothing elsewhere."""

import sys
import time
from typing import TextIO

_EVERY = 0.2  # seconds


class Progress:
    """How many images are done, how many a second, and the time left.

    total: how many there are, None where that is not known. done: of these, those that an earlier run did.
    """

    def __init__(self, total: int | None, done: int, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._total, self._done, self._before = total, done, done
        self._started = self._shown = time.monotonic()
        self.is_shown = self._stream.isatty()

    def add(self, number: int, share: float | None = None) -> None:
        """Count images; share: how much of the input has been read, where the total is not known."""
        self._done += number
        now = time.monotonic()
        if self.is_shown and now - self._shown >= _EVERY:
            self._shown = now
            self._stream.write(f"\r{self.line(now - self._started, share)}\x1b[K")
            self._stream.flush()

    def line(self, seconds: float, share: float | None = None) -> str:
        """Say how far it is after so many seconds."""
        new = self._done - self._before
        rate = new / seconds if seconds else 0
        line = f"{self._done:,}{f' of {self._total:,}' if self._total else ''} images, {rate:,.0f}/s"
        if self._total and rate:
            return f"{line}, {_duration((self._total - self._done) / rate)} left"
        return f"{line}, {share:.0%} of the archive" if share is not None else line

    def end(self) -> None:
        """Clear the line."""
        if self.is_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
