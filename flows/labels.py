"""The Prefect flow of `python -m lightline labels`: a run of the pipeline a fold, then what their answers say."""

import csv
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.crashes import claimed
from flows.errors import RequestError, StageError
from flows.git import find_origin
from flows.own_command import run_own_command
from flows.pipeline import pipeline
from flows.security import refuse_keys, refuse_open_server
from lightline.config.folds import of_fold
from lightline.errors import LightlineError

_REPORTS = Path("reports", "labels")
_SHOWN = 200  # rows of a table in Prefect; the files have all


@flow(name="labels", description="Labels that are likely wrong and odd pictures, by models that have not seen them.")
async def labels(
    overrides: list[str] = [],  # noqa: B006 (the UI's form shows the default)
    folds: Annotated[int, Field(ge=2)] = 5,
    repo: str = ".",
    rev: str = "HEAD",
) -> State[Any]:
    """Train a model a fold and write reports/labels/ into the repository.

    Args:
        overrides: Changes to the parameters of the models, as of the flow `pipeline`. Good ones find more: for photos
            recipe=linear_probe.
        folds: Parts of the data, one model each, at least 2. What is finished comes from the cache.
        repo: Path of a git repository with DVC on the worker's machine; it gets the experiments and reports/labels/.
            A dot is the repository this flow lies in.
        rev: Branch, tag or commit to run. What is not committed is never part of a run.
    """
    try:
        refuse_keys(overrides, repo)
        await refuse_open_server()
        origin = find_origin(repo)
        if not origin.is_here:
            raise RequestError(f"repo = {repo!r}: reports/labels/ needs a folder to lie in, give the path of a clone.")
        with claimed(origin.home, str(flow_run.id), str(origin.project)):  # a fold has a clone of its own
            experiments = [await _run_fold(fold, folds, overrides, repo, rev) for fold in range(folds)]
            told = await read_answers(origin.home, experiments)
        return Completed(message=told)
    except LightlineError as error:
        return Failed(message=str(error))


async def _run_fold(fold: int, folds: int, overrides: list[str], repo: str, rev: str) -> str:
    run: Any = pipeline
    state = await run(of_fold(fold, folds, overrides), repo, rev, targets=["test"], return_state=True)
    if not state.is_completed():
        raise StageError(f"Fold {fold + 1} of {folds} failed: {state.message}\nThe same again goes on from there.")
    return (await state.aresult()).experiment


@task(name="read_answers", cache_policy=NO_CACHE)
async def read_answers(home: Path, experiments: list[str]) -> str:
    """Have the command read what the runs found, and show it; gives its first line."""
    status, lines = await run_own_command(home, "labels", "--of", *experiments)
    for line in lines:
        get_run_logger().info(line)
    if status:
        raise StageError("\n".join(lines[-5:]))
    for name in ("suspects", "odd"):
        with (home / _REPORTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        told = f"{len(rows)} in {_REPORTS / f'{name}.csv'} of {home}; the first {_SHOWN} at most"
        await acreate_table_artifact(rows[:_SHOWN], key=name, description=told)
    return lines[0]
