"""The Prefect flow: the stages of dvc.yaml in a clean clone, watched, and recorded as a DVC experiment.

`python -m flows.pipeline --help` runs it from a terminal; prefect.yaml deploys it.
"""

if __name__ == "__main__":  # first, because Prefect takes a second to load
    import runpy

    runpy.run_module("flows", run_name="__main__")

import asyncio
import signal
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, cast

import yaml
from prefect import Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.crashes import api, clear
from flows.errors import StageError, UnavailableError
from flows.git import experiments, homes
from flows.live_history import live_history
from flows.promote import judge
from flows.results import Results, keep_page, publish, read_results, server_answers
from flows.security import refuse_keys, refuse_open_server
from flows.worker import outlive_worker
from flows.workspace import Request, Workspace, WorkspacePrefetch, open_workspace
from lightline.errors import LightlineError, some_lines
from lightline.runtime.left_behind import sentence
from lightline.runtime.partial_experiment import advice

RETRY_DELAYS = [10.0, 60.0]  # seconds before each retry of what may pass by itself
_UNAVAILABLE = "Unavailable"  # name of the failed state that is retried
_SHOWN = 10  # uncommitted files
_TEST = "test"  # the stage after which a run that fails is worth an experiment
_UNHEARD = "Unheard"  # name of the completed state of a run whose server has gone


@dataclass(frozen=True)
class Terminal:
    """The command that a run was started by in this process.

    Attributes:
        ahead: what it has prepared while Prefect was loading.
        without_server: gets the `Results` of a run whose Prefect server has gone.
        cancel: ends the run and the command.
    """

    ahead: WorkspacePrefetch
    without_server: asyncio.Future[Any]
    cancel: Callable[[], Any]


terminal: ContextVar[Terminal | None] = ContextVar("terminal", default=None)


@flow(name="pipeline", description="The stages of dvc.yaml in a clean clone, recorded as a DVC experiment.")
async def pipeline(
    overrides: list[str] = [],  # noqa: B006 (the UI's form shows the default)
    repo: str = ".",
    rev: str = "HEAD",
    experiment: str | None = None,
    targets: list[str] = [],  # noqa: B006
) -> State[Results]:
    """Download, split, train, test and export, each only where something changed.

    Args:
        overrides: Changes to the parameters in conf/, in Hydra's grammar, one an item: a group's choice as in
            model=resnet18, a value as in trainer.max_epochs=3. Empty: the parameters as they are.
        repo: Where the code comes from and the experiment goes to: the path of a git repository with DVC, or a git
            URL. A dot is the repository this flow lies in.
        rev: Branch, tag or commit to run. What is not committed is never part of a run.
        experiment: Name for the DVC experiment that records the run. Empty: DVC invents one.
        targets: Stages to bring up to date (download, split, train, test, export, report, quantize@int8), with all they
            depend on. Empty: every stage.
    """
    logger = get_run_logger()
    request = Request(overrides, repo, rev, experiment, targets)
    try:
        refuse_keys(overrides, repo)
        await refuse_open_server()
        caller = terminal.get()
        if caller is None:
            outlive_worker()
        else:
            # Prefect's own handler raises wherever the event loop is: in a callback, asyncio logs it and goes on.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, caller.cancel)
        async with open_workspace(request, logger.info, caller and caller.ahead) as workspace:
            await _take_over(workspace, logger)
            _announce(workspace, logger)
            state = await _run(workspace, named=experiment is not None, targets=targets)
        if caller and state.name == _UNHEARD:
            caller.without_server.set_result(state.data)
        return state
    except LightlineError as error:
        return Failed(message=str(error))


async def _run(workspace: Workspace, named: bool, targets: list[str]) -> State[Any]:
    ran, states = [], []
    for name, stages in workspace.steps:
        stage: Any = stage_task(workspace, name, stages)
        state = await stage(wait_for=states[-1:], return_state=True)
        if not state.is_completed():
            return Failed(message=f"{state.message}{await _keep_what_is_finished(workspace, name)}")
        states.append(state)
        ran += [name] if state.name == "Ran" else []
    if not (ran or named) and (equal := workspace.equal_experiment()):
        workspace.experiment = equal  # the same again is no news
    else:
        await workspace.save(targets)
    page = (
        keep_page(workspace.folder, workspace.origin.home, workspace.experiment) if workspace.origin.is_here else None
    )
    results = read_results(
        workspace.folder,
        [name for name, _ in workspace.steps],
        origin=str(workspace.origin.home) if workspace.origin.is_here else workspace.origin.url,
        commit=workspace.commit,
        experiment=workspace.experiment,
        ran=ran,
        changed=workspace.changed,
        page=page,
    )
    if results.has_model and await _is_to_be_promoted(workspace):
        results = replace(results, promotion=await _promote(workspace))
    workspace.dvc.dismiss()
    if not await server_answers():
        get_run_logger().warning("The Prefect server has gone: it will not show how this run ends.")
        return Completed(name=_UNHEARD, message=results.headline(), data=results)
    await publish(results)
    return Completed(message=results.headline(), data=results)


async def _is_to_be_promoted(workspace: Workspace) -> bool:
    params = yaml.safe_load((workspace.folder / "params.yaml").read_bytes())
    # An old commit has no such section; without its server, Prefect would hold a task up for minutes.
    return bool(params.get("promote", {}).get("auto")) and await server_answers()


async def _promote(workspace: Workspace) -> str:
    """Have the model judged against the champion, by the settings of this run; gives what came of it.

    A model that cannot be judged is one all the same: the run does not fail by it.
    """
    origin, run = workspace.origin, cast(Any, judge)
    commit = experiments(origin, workspace.commit, workspace.folder)[workspace.experiment]
    settings = ("--params", str(workspace.folder / "params.yaml"))
    state = await run(origin.home if origin.is_here else workspace.folder, *settings, commit, return_state=True)
    if not state.is_completed():
        get_run_logger().warning("The model is not promoted: %s", state.message)
        return "could not be judged"
    return (await state.aresult())["verdict"]


async def _keep_what_is_finished(workspace: Workspace, failed: str) -> str:
    """Record what was finished before a stage failed, if it was tested by then; gives what is to be said of it."""
    names = [name for name, _ in workspace.steps]
    if _TEST not in names[: names.index(failed)]:
        return ""
    try:
        experiment = await workspace.save_before(failed)
    except LightlineError as error:
        return f"\nAll before it is in the cache, but could not be recorded as an experiment: {error}"
    fetch = "" if workspace.origin.is_here else f"\nFirst: `dvc exp pull origin {experiment}`."
    return f"\n{advice(experiment, failed)}{fetch}"


async def _take_over(workspace: Workspace, logger: Any) -> None:
    """Write down whose clone this is, and clear up after runs whose processes were killed."""
    own = str(flow_run.id)
    workspace.claim.belongs_to(own, api(), str(workspace.project))
    for other in await clear([workspace.origin.home, *homes()], own):
        logger.warning("Flow run %s has crashed: its processes are gone.", other)


def stage_task(workspace: Workspace, name: str, stages: list[str]) -> Task[[], Any]:
    """Make the task for one step: it ends as Ran, Cached or Failed, and tries again what may pass by itself."""

    @task(
        name=name,
        task_run_name=name,
        cache_policy=NO_CACHE,  # DVC is the only cache
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=RETRY_DELAYS,
        retry_condition_fn=_may_pass,
    )
    async def stage() -> State[Any]:
        try:
            async with live_history(workspace.folder):
                ran = await workspace.reproduce(stages, get_run_logger().info)
        except LightlineError as error:
            failed = _UNAVAILABLE if isinstance(error, UnavailableError) else "Failed"
            return Failed(name=failed, message=_failure(name, error, list(workspace.dvc.last_lines)))
        if ran:
            return Completed(name="Ran")
        return Completed(name="Cached", message="nothing it depends on has changed")

    return stage


def _may_pass(stage: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    return state.name == _UNAVAILABLE


def _failure(name: str, error: LightlineError, last_lines: list[str]) -> str:
    if not isinstance(error, StageError | UnavailableError) or not last_lines:
        return f"Stage {name!r} failed: {error}"
    return f"Stage {name!r} failed: {error}. The last it printed:\n" + "\n".join(f"  {line}" for line in last_lines)


def _not_committed(changes: list[str]) -> str:
    return f"Not committed, and so no part of this run:{some_lines(changes, _SHOWN)}"


def _announce(workspace: Workspace, logger: Any) -> None:
    read, unread = workspace.uncommitted()
    if unread:
        logger.warning("%s", _not_committed(unread))
    if read:
        told = "Not committed, and read from where it lies, as it is now (data.path, model.weights):%s"
        logger.warning(told, some_lines(read, _SHOWN))
    logger.info("Experiment %s on commit %s", workspace.experiment, workspace.commit[:12])
    for key, before, now in workspace.changed:
        logger.info("%s = %r instead of %r", key, now, before)
    if workspace.left:
        told = sentence(workspace.left, "this commit", workspace.commit[:12])
        logger.warning("%s", told[:1].upper() + told[1:])
