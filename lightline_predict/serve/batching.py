"""Images that come at about the same time, answered in one run of the session.

An image waits only for those that are being decoded already, and no longer than `delay`: one that comes alone is
answered at once. While the session runs, further ones gather, and go together in the next run.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lightline_predict.classifier import Classifier

Outputs = dict[str, np.ndarray]  # what the file answers for one image, by name
_MOST_PIXELS = 2**24  # of a batch that is larger than one image: the file computes in float32


@dataclass(eq=False, slots=True)
class _Item:
    classifier: Classifier
    pixels: np.ndarray
    future: asyncio.Future[Outputs]


class Batcher:
    """Runs the session, one batch at a time.

    Attributes:
        coming: images that will be here soon; it is worth waiting for them.
    """

    def __init__(self, delay: float, most: int, told: Callable[[int], None]):
        """Take seconds to wait for those that are coming, images a batch, and who is told each batch's size."""
        self.coming = 0
        self._delay, self._most, self._told = delay, most, told
        self._waiting: deque[_Item] = deque()
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "session")

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, classifier: Classifier, pixels: np.ndarray) -> asyncio.Future[Outputs]:
        """Have an image answered, uint8 [height, width, 3], by a model; cancel the future where nobody waits."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(_Item(classifier, pixels, future))
        self._changed.set()
        return future

    def is_ready(self) -> None:
        """Look again at whether it is worth waiting: something that was coming is here, or will not come."""
        self._changed.set()

    async def run(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._some()
                batch = self._take()
                if not batch:
                    continue
                self._told(len(batch))
                done = await loop.run_in_executor(self._thread, _run, batch)
                for item, outputs in zip(batch, done, strict=True):
                    if item.future.done():
                        continue
                    if isinstance(outputs, Exception):
                        item.future.set_exception(outputs)
                    else:
                        item.future.set_result(outputs)
        finally:
            self._thread.shutdown(wait=False)

    async def _some(self) -> None:
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        if not self.coming:
            return
        try:
            async with asyncio.timeout(self._delay):
                while self.coming and len(self._waiting) < self._most:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass

    def _take(self) -> list[_Item]:
        """Take the first, and those behind it that can be answered with it: of its size, for its model."""
        batch: list[_Item] = []
        left: list[_Item] = []
        most = self._most
        while self._waiting and len(batch) < most:
            item = self._waiting.popleft()
            if item.future.done():  # nobody waits for it any more
                continue
            if not batch:
                most = max(1, min(most, _MOST_PIXELS // (item.pixels.size // 3)))
            elif item.classifier is not batch[0].classifier or item.pixels.shape != batch[0].pixels.shape:
                left.append(item)
                continue
            batch.append(item)
        self._waiting.extendleft(reversed(left))
        return batch


def _run(batch: list[_Item]) -> list[Outputs] | list[Exception]:
    try:
        together = batch[0].classifier.outputs(np.stack([item.pixels for item in batch]))
        return [dict(zip(together, row, strict=True)) for row in zip(*together.values(), strict=True)]
    except Exception as error:  # onnxruntime's classes share no base; whoever asked is told
        return [error] * len(batch)
