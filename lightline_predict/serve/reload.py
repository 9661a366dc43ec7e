"""The model that answers now, and the next one: opened beside it, tried, then put in its place."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from lightline_predict.errors import LightlineError
from lightline_predict.serve.champion import FileSource, GitSource
from lightline_predict.serve.models import Loaded, agreement, load

_LONGEST = 60  # seconds between two looks where what is found cannot be brought
_logger = logging.getLogger("lightline_predict.serve")


class Current:
    """Holds the model that answers.

    Attributes:
        model: changes between two awaits; who answers a request takes it once.
    """

    def __init__(self, source: FileSource | GitSource, threads: int, examples: Sequence[bytes]):
        """Load the first one.

        Raises:
            ModelFileError: it cannot be found, or cannot answer.
        """
        self._source, self._threads, self._examples = source, threads, examples
        self._seen = source.state()
        self.model = self._load(*source.bring())
        self.look_now = asyncio.Event()

    async def watch(self, every: float, told: Callable[[str], None]) -> None:
        """Look for a new model every so many seconds, and at once where look_now is set; told: "taken" or "kept"."""
        pause = every
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self.look_now.wait()
            except TimeoutError:
                pass
            self.look_now.clear()
            try:
                outcome = await asyncio.to_thread(self._look)
                pause = every
            except asyncio.CancelledError:
                self._source.stop()  # the thread, which nothing else can end
                raise
            except Exception as error:  # whatever a file of somebody else's makes of it, the old one goes on answering
                outcome, pause = "kept", min(2 * pause, max(every, _LONGEST))
                (_logger.error if isinstance(error, LightlineError) else _logger.exception)(
                    "no new model: %s The one from before (%s) goes on answering.", error, self.model.fingerprint[:16]
                )
            if outcome:
                told(outcome)

    def _look(self) -> str | None:
        state = self._source.state()
        if state is None or state == self._seen:
            return None
        path, origin = self._source.bring()  # which is tried again where it fails: a network may
        self._seen = state  # a file that cannot answer is not, before it changes
        new, old = self._load(path, origin), self.model
        self.model = new
        _logger.warning(
            "model %s answers instead of %s, from %s; %s.",
            *(new.fingerprint[:16], old.fingerprint[:16], new.origin, agreement(new, old)),
        )
        return "taken"

    def _load(self, path: Path, origin: str) -> Loaded:
        return load(path, origin, self._threads, self._examples)
