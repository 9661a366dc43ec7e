"""The history of a training while it runs, as a table of the flow run: a learning curve for people and for sweeps."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from lightline.runtime.origin import LIVE_HISTORY

HISTORY = "history"  # the artifact's key
_INTERVAL = 1.0  # seconds


@asynccontextmanager
async def live_history(folder: Path) -> AsyncIterator[None]:
    """Show what a stage in a folder writes of its training; what there was before the stage is not of it.

    A server that has gone does not matter: the run goes on without.
    """
    file = folder / LIVE_HISTORY
    file.unlink(missing_ok=True)
    follower = asyncio.create_task(_follow(file))
    try:
        yield
    finally:
        follower.cancel()
        with suppress(asyncio.CancelledError):
            await follower


async def _follow(file: Path) -> None:
    seen, artifact = None, None
    while True:
        try:
            await asyncio.sleep(_INTERVAL)
        finally:  # at the end too
            if (rows := _read(file)) and rows != seen:
                with suppress(Exception):
                    artifact, seen = await _show(rows, artifact), rows


def _read(file: Path) -> list[dict[str, Any]]:
    with suppress(OSError, ValueError):
        return json.loads(file.read_bytes())
    return []


async def _show(rows: list[dict[str, Any]], artifact: Any) -> Any:
    from prefect.artifacts import acreate_table_artifact
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import ArtifactUpdate

    if artifact is None:
        return await acreate_table_artifact(rows, key=HISTORY, description="Training, epoch by epoch")
    async with get_client() as client:
        await client.update_artifact(artifact, ArtifactUpdate(data=json.dumps(rows)))
    return artifact
