"""Training again after an alarm: once a window, not too often, and only where there are new labelled data.

What was started stands in a journal, .lightline/retrainings.json, written before Prefect is asked; Prefect gets a key
of the window with it. Killed before it was asked, the same alarm asks; killed after that, Prefect gives the run that
there is already. Nothing is started twice.
"""

import asyncio
import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound

from flows.errors import RequestError, StageError
from lightline.runtime.locks import lock

DEPLOYMENT = "pipeline/local"
_JOURNAL = Path(".lightline", "retrainings.json")
_WEEK = timedelta(days=7)
_POLL = 5.0  # seconds


@dataclass(frozen=True)
class Request:
    """An alarm that asks for training.

    Attributes:
        window: the one that raised it.
        model: fingerprint of the model whose images have changed.
        source, trained: digests of the source of the images as it is now, and of what the model was trained on; None
            where it is not known.
        is_over: whether images of a later window are like the test images again.
        cool_down: after a retraining.
        most_a_week: retrainings.
    """

    window: str
    model: str
    source: str | None
    trained: str | None
    is_over: bool
    cool_down: timedelta
    most_a_week: int

    @classmethod
    def of(cls, report: dict[str, Any]) -> "Request":
        """Read it from reports/monitor/report.json."""
        settings, source = report["settings"], report["source"]
        return cls(
            report["alarm"],
            report["model"],
            source["now"],
            source["trained"],
            report["is_over"],
            timedelta(days=settings["cool_down_days"]),
            settings["most_a_week"],
        )

    @property
    def key(self) -> str:
        return f"retrain {self.model[:16]} {self.window}"


@dataclass(frozen=True)
class Started:
    """A retraining of the journal.

    Attributes:
        flow_run: None as long as Prefect has not answered.
        asked_as: the key that Prefect was given, where it is that of an earlier window which it did not answer.
    """

    key: str
    source: str | None
    time: str
    flow_run: str | None = None
    asked_as: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a request, in a sentence; run: None where it was refused."""

    told: str
    run: FlowRun | None = None


async def retrain(home: Path, request: Request, parameters: dict[str, Any]) -> Outcome:
    """Start the pipeline, or take up what the same window has started, and wait for its end.

    parameters: of the flow `pipeline`.

    Raises:
        StageError: the run failed. RequestError: the deployment is not there.
    """
    journal = home / _JOURNAL
    journal.parent.mkdir(exist_ok=True)
    with journal.with_suffix(".lock").open("a") as file:
        await asyncio.to_thread(lock, file, wait=True)
        started = read(journal)
        mine = next((one for one in started if one.key == request.key), None)
        if mine is None:
            asked = [one for one in started if one.flow_run is not None]
            if refusal := refuse(request, asked, datetime.now(UTC)):
                return Outcome(f"Nothing was trained again: {refusal}")
            # What Prefect did not answer for another window: it may have that run, and gives it.
            open_keys = [one.asked_as or one.key for one in started if one.flow_run is None]
            now = datetime.now(UTC).isoformat(timespec="seconds")
            mine = Started(request.key, request.source, now, asked_as=next(iter(open_keys), None))
            write(journal, started := [*asked, mine])
        if mine.flow_run is None:
            mine = replace(mine, flow_run=await _ask(mine.asked_as or mine.key, parameters))
            write(journal, [*(one for one in started if one.key != mine.key), mine])
    return await _wait_for(UUID(mine.flow_run))


def refuse(request: Request, started: list[Started], now: datetime) -> str | None:
    """Say why nothing is to be trained again; None where nothing is against it."""
    if request.is_over:
        return "the images of the latest window are like the test images again."
    if request.source is None:
        return "the source of the images is not on this machine, and so nothing says whether it holds new ones."
    if request.source == request.trained or (started and started[-1].source == request.source):
        return (
            "there are no new labelled data: the source is what the last training had. Add images of the new kind, "
            "with their labels, where data.path points."
        )
    times = [datetime.fromisoformat(one.time) for one in started]
    if times and now < (until := times[-1] + request.cool_down):
        days, end = request.cool_down / timedelta(days=1), until.isoformat(timespec="minutes")
        return (
            f"the last retraining began at {started[-1].time}, and monitor.cool_down_days = {days:g} has the next one "
            f"wait until {end}."
        )
    if (recent := sum(now - time < _WEEK for time in times)) >= request.most_a_week:
        return f"{recent} retrainings began within a week, and monitor.most_a_week = {request.most_a_week}."
    return None


def read(journal: Path) -> list[Started]:
    """Read the journal, the latest last."""
    if not journal.exists():
        return []
    return [Started(**one) for one in json.loads(journal.read_text(encoding="utf-8"))]


def write(journal: Path, started: list[Started]) -> None:
    """Replace the journal in one step; it is on the disk before anything is asked of Prefect."""
    new = journal.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        json.dump([asdict(one) for one in started], file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    new.replace(journal)


async def _ask(key: str, parameters: dict[str, Any]) -> str:
    try:
        # No subflow: it goes on where this run is killed, and the next one takes it up.
        run = await arun_deployment(
            DEPLOYMENT, parameters=parameters, idempotency_key=key, timeout=0, as_subflow=False, tags=["retraining"]
        )
    except ObjectNotFound:
        raise RequestError(
            f"There is no deployment {DEPLOYMENT!r} to train with; `prefect --no-prompt deploy --all` makes it."
        ) from None
    return str(run.id)


async def _wait_for(flow_run: UUID) -> Outcome:
    logger = get_run_logger()
    logger.info("Waiting for the retraining, flow run %s", flow_run)
    async with get_client() as client:
        while True:
            try:
                run = await client.read_flow_run(flow_run)
            except ObjectNotFound:
                raise StageError(
                    f"The retraining of this window, flow run {flow_run}, was deleted in Prefect."
                ) from None
            if run.state and run.state.is_final():
                break
            await asyncio.sleep(_POLL)
    if not run.state.is_completed():
        raise StageError(f"The retraining, flow run {run.name}, ended as {run.state.name}: {run.state.message}")
    return Outcome(f"Trained again: {run.state.message}", run)
