"""The Prefect flow of `python -m lightline monitor`: have the images changed, and is there reason to train again?"""

import csv
import json
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_link_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.crashes import claimed
from flows.errors import RequestError, StageError
from flows.git import Origin, find_origin
from flows.own_command import run_own_command
from flows.retraining import Request, retrain
from flows.security import refuse_keys, refuse_open_server
from flows.worker import outlive_worker
from lightline.errors import LightlineError

EVENT = "lightline.drift"
_REPORTS = Path("reports", "monitor")
_ALARM, _TOO_FEW = 3, 4  # exit status of the command
_SHOWN = 200  # rows of a table in Prefect; the file has all


@flow(name="monitor", description="Whether images that are answered have become others than the test images were.")
async def monitor(
    images: str,
    model: str = "models/model.onnx",
    overrides: list[str] = [],  # noqa: B006 (the UI's form shows the default)
    repo: str = ".",
    rev: str = "HEAD",
) -> State[Any]:
    """Compare images with the test images, raise an alarm, and train again where monitor.retrain says so.

    Args:
        images: What `lightline-predict serve --log` wrote, or a folder of images; relative to the repository.
        model: The model file that answers, relative to the repository; reports/test/reference.parquet lies beside it.
        overrides: Changes to the parameters of the section monitor, one an item, as in monitor.retrain=true or
            monitor.window_hours=1.
        repo: Path of a git repository with DVC on the worker's machine; it gets reports/monitor/. A dot is the
            repository this flow lies in.
        rev: Branch, tag or commit that is trained again. What is not committed is never part of a run.
    """
    try:
        refuse_keys(overrides, repo)
        await refuse_open_server()
        outlive_worker()
        origin = find_origin(repo)
        if not origin.is_here:
            raise RequestError(f"repo = {repo!r}: reports/monitor/ needs a folder to lie in, give the path of a clone.")
        with claimed(origin.home, str(flow_run.id), str(origin.project)):
            report = await compare(origin.home, images, model, overrides)
            if report["alarm"] is None:
                return Completed(message=report["headline"])
            raise_alarm(report)
            told = await _follow(origin, report, rev)
        return Completed(name="Drift", message=f"{report['headline']}\n{told}")
    except LightlineError as error:
        return Failed(message=str(error))


@task(name="compare", cache_policy=NO_CACHE)
async def compare(home: Path, images: str, model: str, overrides: list[str]) -> dict[str, Any]:
    """Have the command compare, and show what it found; gives its report.

    Raises:
        StageError: it could not.
    """
    words = [word for override in overrides for word in ("-S", override)]
    status, lines = await run_own_command(home, "monitor", images, "--model", model, *words)
    for line in lines:
        get_run_logger().info(line)
    if status not in (0, _ALARM, _TOO_FEW):
        raise StageError("\n".join(lines[-5:]))
    report = json.loads((home / _REPORTS / "report.json").read_text(encoding="utf-8"))
    with (home / _REPORTS / "windows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    await acreate_table_artifact(rows[-_SHOWN:], key="windows", description=report["headline"])
    page = home / _REPORTS / "report.html"
    await acreate_link_artifact(page.as_uri(), link_text=str(page), key="drift", description=report["headline"])
    return report


def raise_alarm(report: dict[str, Any]) -> None:
    """Tell Prefect, whose automations can send a mail or start what a team wants."""
    emit_event(
        EVENT,
        resource={
            "prefect.resource.id": f"lightline.model.{report['model'][:16]}",
            "prefect.resource.name": f"model {report['model'][:16]}",
        },
        payload={key: report[key] for key in ("alarm", "headline", "is_over", "images")},
    )
    get_run_logger().warning("%s", report["headline"])


async def _follow(origin: Origin, report: dict[str, Any], rev: str) -> str:
    if not report["settings"]["retrain"]:
        return "Nothing was trained again: monitor.retrain is false."
    # Whether its model takes the place of the one in use is decided by a comparison.
    # By its path: a dot would be the clone of the worker that takes the run.
    asked = {"repo": str(origin.home), "rev": rev, "overrides": ["promote.auto=true"]}
    return (await retrain(origin.home, Request.of(report), asked)).told
