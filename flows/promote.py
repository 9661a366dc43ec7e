"""The Prefect flow of `python -m lightline promote`, and what `pipeline` does at its end with promote.auto."""

import json
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from flows.errors import RequestError, StageError
from flows.git import find_origin
from flows.own_command import run_own_command
from flows.security import refuse_keys, refuse_open_server
from lightline.errors import LightlineError

EVENT = "lightline.promotion"
_REPORTS = Path("reports", "promotion")
_JUDGED = (0, 3, 4)  # the exit status of PROMOTE, HOLD and REJECT


@flow(name="promote", description="A model against the champion: promoted where it is shown to be better.")
async def promote(experiment: str | None = None, repo: str = ".", first: bool = False, push: bool = True) -> State[Any]:
    """Compare an experiment's model with the champion, and make it the champion if it is shown to be better.

    Args:
        experiment: Name or commit of the challenger. Empty: what lies in the repository, as it is recorded there.
        repo: Path of a git repository with DVC on the worker's machine; it gets the tags and reports/promotion/. A dot
            is the repository this flow lies in.
        first: Make it the champion without a comparison, where there is no champion or none to compare it with.
        push: Send the tags to git's remote, and a new champion's files to DVC's, where there are these.
    """
    try:
        refuse_keys([], repo)
        await refuse_open_server()
        origin = find_origin(repo)
        if not origin.is_here:
            raise RequestError(
                f"repo = {repo!r}: reports/promotion/ needs a folder to lie in, give the path of a clone."
            )
        chosen = ["--first"] * first + ["--no-push"] * (not push) + (["--", experiment] if experiment else [])
        content = await judge(origin.home, *chosen)
        return Completed(message=f"{content['verdict']}: {content['reasons'][0]}")
    except LightlineError as error:
        return Failed(message=str(error))


@task(name="promote", cache_policy=NO_CACHE)
async def judge(home: Path, *arguments: str) -> dict[str, Any]:
    """Have the command judge, and show and announce the verdict; gives what verdict.json has."""
    status, lines = await run_own_command(home, "promote", *arguments)
    for line in lines:
        get_run_logger().info(line)
    if status not in _JUDGED:
        raise StageError("\n".join(lines[-5:]))
    content = json.loads((home / _REPORTS / "verdict.json").read_text(encoding="utf-8"))
    told, challenger = f"{content['verdict']}: {content['reasons'][0]}", content["challenger"]
    page = (home / _REPORTS / "verdict.md").read_text(encoding="utf-8")
    await acreate_markdown_artifact(page, key="promotion", description=told)
    resource = {"prefect.resource.id": f"lightline.model.{challenger['model']}"}
    names = {"prefect.resource.name": challenger["name"], "lightline.fingerprint": str(challenger["fingerprint"])}
    told_of = ("verdict", "reasons", "champion", "challenger", "comparison", "accuracy")
    payload = {key: content[key] for key in told_of if key in content}
    emit_event(EVENT, resource={**resource, **names}, payload=payload)
    return content
