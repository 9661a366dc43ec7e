"""A worker for the deployments: `python -m flows.worker`.

It first has Prefect know which runs of this machine have crashed: a worker by itself does not ask after those that died
with the worker before it. Those of a deployment are scheduled again, and go on from what is finished. Then it is
`prefect worker start`, with the same options, for runs with the code of this clone.
"""

import asyncio
import logging
import os
import sys
from contextlib import suppress
from functools import partial
from uuid import UUID

from flows import temporary_server
from flows.crashes import clear
from flows.errors import UnavailableError
from flows.git import CODE, homes
from flows.sweep import TAG

# `prefect`, which a Ctrl-C while it loads ends without a traceback through its imports.
_PREFECT = "import lightline.runtime.interruption as i; i.end_at_once(); from prefect.cli import app; app()"
_COMMAND = ("worker", "start", "--pool", "local", "--type", "process")


def main() -> None:
    """Report the runs that have crashed, and become Prefect's worker; does not come back."""
    try:
        with temporary_server.explained():
            asyncio.run(_take_up())
    except UnavailableError as error:
        sys.exit(f"error: {error}")
    prefect = (sys.executable, "-c", _PREFECT, *_COMMAND, *sys.argv[1:])
    os.environ["LIGHTLINE_CODE"] = str(CODE)  # prefect.yaml has runs start there, wherever their deployment was made
    os.execv(sys.executable, prefect)  # noqa: S606 (it takes this process's place)


async def _take_up() -> None:
    for flow_run in await clear(homes()):
        again = " It is scheduled again." if await _schedule_again(flow_run) else ""
        print(f"Flow run {flow_run} has crashed: its processes are gone.{again}", flush=True)


async def _schedule_again(flow_run: str) -> bool:
    """Ask for a new run of the same deployment; what a person started in a terminal is theirs to start again."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    async with get_client() as client:
        with suppress(ObjectNotFound):  # it, or its deployment, was deleted meanwhile
            run = await client.read_flow_run(UUID(flow_run))
            # Those of a sweep are taken up by the sweep.
            if run.deployment_id is not None and not any(tag.startswith(TAG) for tag in run.tags):
                same = {"parameters": run.parameters, "tags": run.tags, "job_variables": run.job_variables}
                await client.create_flow_run_from_deployment(run.deployment_id, **same)
                return True
    return False


def outlive_worker() -> None:
    """Let this run go on when its worker is killed, which reads what it prints: the server has all of that too.

    Prefect prints by rich, which would end the process at a pipe that nobody reads.
    """
    for handler in logging.getLogger().handlers:
        if (console := getattr(handler, "console", None)) is not None:
            console.on_broken_pipe = partial(setattr, console, "quiet", True)


if __name__ == "__main__":
    main()
