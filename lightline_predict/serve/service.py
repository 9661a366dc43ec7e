"""From an encoded image to its answer: decoded, batched, counted, logged."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from lightline_predict.machine import num_cores
from lightline_predict.serve.batching import Batcher, Outputs
from lightline_predict.serve.decoding import Decoder
from lightline_predict.serve.entries import Entry
from lightline_predict.serve.limits import Admission, Share
from lightline_predict.serve.metrics import Metrics
from lightline_predict.serve.models import Loaded
from lightline_predict.serve.options import Options
from lightline_predict.serve.reload import Current

if TYPE_CHECKING:  # it takes pyarrow, which nothing else does
    from lightline_predict.serve.request_log import RequestLog

_DECODING = min(4, num_cores())  # threads


@asynccontextmanager
async def ended(tasks: list[asyncio.Task]) -> AsyncIterator[None]:
    """Leave no task behind: where one fails, nobody waits for the others."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Service:
    """What answers; made in the event loop that it works in.

    Attributes:
        draining: nothing new is wanted; set when the server is told to end.
    """

    def __init__(self, options: Options, current: Current, log: "RequestLog | None"):
        self.options, self.current = options, current
        self.draining = False
        self.metrics = Metrics()
        self.admission = Admission(options.limits)
        self.batcher = Batcher(options.delay, options.batch, self.metrics.batches.observe)
        self.decoder = Decoder(_DECODING, options.limits.pixels)
        self._log = log
        if log is not None:
            log.start(lambda what, rows: self.metrics.rows.labels(what).inc(rows))
        self.metrics.gauge("requests_in_progress", "Requests that are being answered.", lambda: self.admission.requests)
        self.metrics.gauge("held_bytes", "Bytes of their bodies and pixels.", lambda: self.admission.held)
        self.metrics.gauge("queue_length", "Images that wait for the session.", lambda: len(self.batcher))
        self._show_model()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Answer, and look for new models, until the end of the block."""
        tasks = [
            asyncio.create_task(self.batcher.run()),
            asyncio.create_task(self.current.watch(self.options.every, self._swapped)),
        ]
        try:
            async with ended(tasks):
                yield
        finally:
            self.decoder.close()
            if self._log is not None:
                await asyncio.to_thread(self._log.close)

    async def classify(self, model: Loaded, encoded: bytes, share: Share) -> Outputs:
        """Answer for an encoded image.

        Raises:
            UnusableImageError: it cannot be decoded.
            Refused: 429, its pixels are more than the memory takes.
        """
        self.batcher.coming += 1
        try:
            image = await self.decoder.read(model.classifier, encoded)
        finally:
            self.batcher.coming -= 1
            self.batcher.is_ready()
        share.take(image.pixels.nbytes)
        return await self.answer(model, image.pixels)

    async def answer(self, model: Loaded, pixels: np.ndarray) -> Outputs:
        """Answer for uint8 RGB [height, width, 3]."""
        outputs = await self.batcher.ask(model.classifier, pixels)
        name, accepted = model.classifier.classes[outputs["probabilities"].argmax()], is_accepted(outputs)
        self.metrics.answers.labels(name, "yes" if accepted else "no").inc()
        if self._log is not None:
            given = outputs["probabilities"]
            self._log.add(
                Entry(time.time(), pixels, model.fingerprint, name, accepted, given, outputs.get("embedding"))
            )
        return outputs

    def _swapped(self, outcome: str) -> None:
        self.metrics.swaps.labels(outcome).inc()
        self._show_model()

    def _show_model(self) -> None:
        self.metrics.model.clear()
        self.metrics.model.labels(self.current.model.fingerprint, self.current.model.origin).set(1)


def is_accepted(outputs: Outputs) -> bool:
    """Tell whether an answer is sure enough; those of contract 1, which do not say, are."""
    return bool(outputs.get("accepted", True))


def said(model: Loaded, outputs: Outputs) -> dict[str, Any]:
    """Put an answer into words, as /predict gives it."""
    classes, probabilities = model.classifier.classes, outputs["probabilities"]
    best = int(probabilities.argmax())
    given = probabilities.tolist()
    chosen = outputs.get("set")
    return {
        "class": classes[best],
        "confidence": given[best],
        "accepted": is_accepted(outputs),
        "set": [classes[best]]
        if chosen is None
        else [name for name, inside in zip(classes, chosen, strict=True) if inside],
        "probabilities": dict(zip(classes, given, strict=True)),
        "model": model.fingerprint,
    }
