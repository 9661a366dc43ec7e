"""A sweep's trials as runs of the deployment `pipeline/local`: started, watched, stopped."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from flows.errors import RequestError
from flows.live_history import HISTORY
from flows.sweep import TAG

DEPLOYMENT = "pipeline/local"
ATTEMPTS = 3  # at what was killed
_ENDED = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED)


@dataclass(frozen=True)
class Runs:
    """The runs of one sweep.

    Attributes:
        identity: of its study; makes the keys by which Prefect knows a run that was asked for already.
        repo, commit: what they run.
    """

    name: str
    identity: str
    repo: str
    commit: str

    @property
    def _tag(self) -> str:
        return f"{TAG}{self.identity}"  # another project's sweep may have the same name

    def experiment(self, number: int) -> str:
        """Name a trial's DVC experiment."""
        return f"{self.name}-{number:03d}"

    async def start(self, experiment: str, overrides: list[str], attempt: int | str, targets: list[str]) -> UUID:
        """Ask for a run; the same again is the same run.

        Raises:
            RequestError: nothing is deployed.
        """
        parameters = {"overrides": overrides, "repo": self.repo, "rev": self.commit, "experiment": experiment}
        started: Any = run_deployment
        try:
            run: FlowRun = await started(
                DEPLOYMENT,
                parameters=parameters | {"targets": targets},
                timeout=0,
                flow_run_name=experiment,
                tags=[f"{TAG}{self.name}", self._tag],
                idempotency_key=f"{self.identity}-{experiment}-{attempt}",
                job_variables={"env": {"WANDB_RUN_GROUP": self.name}},
            )
        except ObjectNotFound as error:
            told = f"The Prefect server has no deployment {DEPLOYMENT}: `prefect --no-prompt deploy --all` makes it."
            raise RequestError(told) from error
        return run.id

    async def read(self, run: UUID) -> FlowRun:
        """Ask Prefect how a run is."""
        async with get_client() as client:
            return await client.read_flow_run(run)

    async def rows(self, run: UUID, key: str = HISTORY) -> list[dict[str, Any]]:
        """Read a table that a run has shown; none yet gives none."""
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=[key]))
        async with get_client() as client:
            found = await client.read_artifacts(artifact_filter=wanted)
        return json.loads(str(found[0].data)) if found else []

    async def stop(self, run: UUID) -> None:
        """Have a run end, with its training's state saved."""
        async with get_client() as client:
            await client.set_flow_run_state(run, Cancelling())

    async def left_running(self) -> list[FlowRun]:
        """List all of this sweep's runs that have not ended."""
        going = [kind for kind in StateType if kind not in (*_ENDED, StateType.CANCELLING)]
        wanted = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[self._tag]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=going)),
        )
        async with get_client() as client:
            return await client.read_flow_runs(flow_run_filter=wanted)


def was_stopped(run: FlowRun) -> bool:
    """Tell whether a run was ended before its end, or is about to be."""
    return run.state is not None and run.state.type in (StateType.CANCELLED, StateType.CANCELLING, StateType.CRASHED)


def has_ended(run: FlowRun) -> bool:
    """Tell whether a run is over."""
    return run.state is not None and run.state.type in _ENDED
