"""The run of the whole pipeline with the best trial's parameters, which alone looks at the test split."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from flows.sweep.study import Study
from flows.sweep.trials import ATTEMPTS, Runs, has_ended, was_stopped


class FinalTest:
    """run: the one that has not ended."""

    def __init__(self, study: Study, runs: Runs, is_recorded: Callable[[str], Awaitable[bool]]):
        """is_recorded: whether an experiment is there, whatever a server knows of the run that made it."""
        self._study, self._runs, self._is_recorded = study, runs, is_recorded
        self.run: UUID | None = None

    async def run_to_its_end(
        self, experiment: str, overrides: list[str], wait: Callable[[FlowRun], Awaitable[None]]
    ) -> FlowRun | None:
        """Start it, or take up what an earlier controller has left; killed, it goes on. Gives it as it ended.

        None: one that was begun before, of whose end its server knows nothing, has left the experiment.
        wait: for a moment, as long as it has not ended.
        """
        left, is_begun = ATTEMPTS, self._study.is_test_asked(experiment)
        try:
            while not (is_begun and await self._is_recorded(experiment)):
                left, self.run = left - 1, await self._begin(experiment, overrides)
                while not has_ended(found := await self._runs.read(self.run)):
                    if is_begun and await self._is_recorded(experiment):
                        return None
                    await wait(found)
                if not (left and found.state and found.state.is_crashed()):
                    return found
                is_begun = True
            return None
        finally:
            self.run = None

    async def _begin(self, experiment: str, overrides: list[str]) -> UUID:
        """Ask for a run: a new one where there is one that has ended, or will, without what it was for."""
        run = await self._runs.start(experiment, overrides, self._study.test_attempt(experiment), [])
        found = await self._runs.read(run)
        if was_stopped(found) or (found.state is not None and found.state.is_failed()):
            attempt = self._study.test_attempt(experiment, another=True)
            run = await self._runs.start(experiment, overrides, attempt, [])
        return run
