"""A sign of life every few seconds, so that no machine waits for one that is gone.

A process that is killed is noticed by its connections. A machine that is cut off is not: gloo would wait half an hour.
"""

import os
import sys
import threading
from collections.abc import Mapping
from datetime import timedelta
from time import monotonic

from torch.distributed import DistError, TCPStore  # pyright: ignore[reportPrivateImportUsage]

_INTERVAL = 2.0  # seconds
_SILENCE = 20.0  # seconds without a sign of life, after which a node is taken to be gone
_SHORT_SILENCE = 6.0  # the same, once this process has seen a connection end
_GRACE = 5.0  # seconds for this process to end by itself, after another has


class Heartbeat:
    """Tells the others that this process lives, and watches some of them; ends this process when one is gone.

    place: HOST:PORT of the store. others: names of those watched, by their numbers.
    """

    def __init__(self, place: str, number: int, others: Mapping[int, str]):
        self._place, self._number, self._others = place, number, others
        self._patience, self._lost, self._has_ended = _SILENCE, "", threading.Event()
        self._found = threading.Event()
        self._last_words: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def leave(self, reason: str) -> None:
        """Tell the others that this process ends, and why; empty: its work is done."""
        self._last_words = reason
        self._has_ended.set()
        self._thread.join(_GRACE)

    def find_lost(self) -> str:
        """Say which other process is gone, once a connection has ended; empty where all are there."""
        self._patience = _SHORT_SILENCE
        self._found.wait(_SHORT_SILENCE + 2 * _INTERVAL)
        self._has_ended.set()
        return self._lost

    def _run(self) -> None:
        try:
            host, _, port = self._place.rpartition(":")
            store = TCPStore(host, int(port), timeout=timedelta(seconds=_SILENCE), wait_for_workers=False)
            seen = {number: (b"", monotonic()) for number in self._others}
            beats = 0
            while not self._has_ended.wait(_INTERVAL):
                beats += 1
                store.set(f"beat/{self._number}", str(beats))
                for number in [number for number in seen if self._is_done(store, number, seen)]:
                    del seen[number]
                if self._lost:
                    break
            if self._last_words is not None:
                store.set(f"end/{self._number}", self._last_words or "done")
        except DistError:  # the store's, which the first node hosts
            self._lose(0, "")
        if self._lost and not self._has_ended.wait(_GRACE):
            print(f"error: {self._lost}", file=sys.stderr, flush=True)
            os._exit(1)  # the main thread waits for who is gone, in a library

    def _is_done(self, store: TCPStore, number: int, seen: dict[int, tuple[bytes, float]]) -> bool:
        """Look at another process; tells whether it has ended in order."""
        if store.check([f"end/{number}"]):
            reason = store.get(f"end/{number}").decode()
            if reason != "done":
                self._lose(number, reason)
            return True
        beat = store.get(f"beat/{number}") if store.check([f"beat/{number}"]) else b""
        before, since = seen[number]
        if beat != before:
            seen[number] = beat, monotonic()
        elif monotonic() - since > self._patience:
            self._lose(number, "")
        return False

    def _lose(self, number: int, reason: str) -> None:
        name = self._others.get(number, "the first node")
        why = f": {reason}" if reason else " or cannot be reached"
        self._lost = (
            f"{name[:1].upper()}{name[1:]} has ended{why}. What was saved last stays: the same command, and the "
            "others' again, go on from it."
        )
        self._found.set()
