"""The Prefect flow of a sweep: what is asked for is checked, then a controller has it tried."""

import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.crashes import claimed
from flows.errors import RequestError
from flows.git import Origin, find_origin
from flows.security import refuse_keys, refuse_open_server
from flows.sweep.controller import Controller
from flows.sweep.space import Space, parse_space
from flows.sweep.study import Plan, Study, journal, only_writer
from flows.sweep.trials import Runs
from flows.worker import outlive_worker
from flows.workspace import Request, open_workspace
from lightline.config.load import check_params
from lightline.config.params import Params
from lightline.errors import LightlineError


@flow(name="sweep", description="Search parameters: trials are runs of `pipeline`, chosen by Optuna.")
async def sweep(  # noqa: PLR0917 (the form has them all)
    name: str,
    overrides: list[str],
    trials: Annotated[int, Field(ge=1)] | None = None,
    parallel: Annotated[int, Field(ge=1)] | None = None,
    continue_pruned: bool = False,
    repo: str = ".",
    rev: str = "HEAD",
) -> State[Any]:
    """Run trials until there are as many as asked for, then the whole pipeline with the best one's parameters.

    Args:
        name: Of the sweep: its experiments are NAME-000, NAME-001, … and NAME-best. The same name goes on with it.
        overrides: What is searched, in Hydra's sweep grammar, as in optimizer.lr=tag(log, interval(0.01, 1)) or
            augment=choice(light,standard), one an item; and fixed values, as of the flow `pipeline`.
        trials: How many there are to be in all. Empty: as sweep.trials in conf/ has it.
        parallel: How many run at once. Empty: as sweep.parallel has it.
        continue_pruned: Go on with the trials that were ended early, from where they were.
        repo: Where the code comes from and the experiments go to: the path of a git repository with DVC, or a git URL.
            A dot is the repository this flow lies in.
        rev: Branch, tag or commit to run. A sweep that is gone on with keeps the commit it began with.
    """
    logger = get_run_logger()
    try:
        refuse_keys(overrides, repo)
        await refuse_open_server()
        outlive_worker()
        origin, space = find_origin(repo), parse_space(overrides)
        with only_writer(origin.home, name), claimed(origin.home, str(flow_run.id), str(origin.project)):
            params = await check(origin, Request(space.corners()[0], repo, rev), name, space, overrides)
            settings = params.sweep.model_copy(
                update={"trials": trials or params.sweep.trials, "parallel": parallel or params.sweep.parallel}
            )
            max_epochs = params.trainer.max_epochs or 1
            study = Study.open(journal(origin.home, name), name, settings, max_epochs)
            runs = Runs(name, study.plan.identity, repo, study.plan.commit)
            controller = Controller(origin, study, runs, settings, max_epochs, logger)
            if continue_pruned:
                logger.info("%d pruned trials go on", study.continue_pruned())
            return Completed(message=await controller.run())
    except LightlineError as error:
        return Failed(message=str(error))


async def check(origin: Origin, request: Request, name: str, space: Space, overrides: list[str]) -> Params:
    """Check the space by what each of its corners composes to, and write the study of a new sweep.

    Raises:
        LightlineError: something cannot be used, or the name is taken.
    """
    file = journal(origin.home, name)
    known = Study.open(file, name) if file.exists() else None
    if known and known.plan.overrides != overrides:
        was = " ".join(map(repr, known.plan.overrides))
        raise RequestError(f"There is a sweep {name!r} already, of {was}. Choose another name, or delete {file}.")
    if known:
        request = Request(request.overrides, request.repo, known.plan.commit)
    async with open_workspace(request, lambda line: None) as workspace:
        _refuse_unread(space, workspace.folder, [stage for stages in workspace.steps for stage in stages[1]])
        composed = []
        for corner in space.corners():
            await workspace.dvc.call("compose", overrides=corner)
            composed.append(
                check_params(yaml.safe_load((workspace.folder / "params.yaml").read_bytes()), "params.yaml")
            )
        params = composed[-1]
        _refuse_incomparable(composed)
        if not known:
            taken = [one for one in workspace.recorded if re.fullmatch(rf"{re.escape(name)}-(\d+|best(-\d+)?)", one)]
            if taken:
                raise RequestError(
                    f"There are experiments of a sweep {name!r} on this commit already, as {taken[0]}. Choose another "
                    f"name, or remove them with `dvc exp remove {' '.join(taken)}`."
                )
            Study.create(file, name, Plan(overrides, workspace.commit, params.trainer.monitor))
    return params


def _refuse_incomparable(composed: list[Params]) -> None:
    """Refuse a space whose trials would be measured by different things, of which the easier to reach would win.

    Raises:
        RequestError: the val images differ, or what they are judged by.
    """
    monitors = {params.trainer.monitor for params in composed}
    if len(monitors) > 1:
        raise RequestError("trainer.monitor cannot be searched: it is what the trials are compared by.")
    for section in ("data", "split", "seed"):  # which draws the split
        if any(getattr(params, section) != getattr(composed[0], section) for params in composed):
            raise RequestError(
                f"{section} cannot be searched: the trials would have other val images, and could not be compared."
            )
    if "val_loss" in monitors and any(params.loss != composed[0].loss for params in composed):
        raise RequestError(
            "loss cannot be searched by val_loss, which is that very loss: the easiest to make small would win. Add "
            "-S trainer.monitor=val_accuracy."
        )


def _refuse_unread(space: Space, folder: Path, stages: list[str]) -> None:
    """Refuse to search what nothing up to training reads: all trials would be the same.

    Raises:
        RequestError: such a key is searched.
    """
    pipeline = yaml.safe_load((folder / "dvc.yaml").read_bytes())["stages"]
    before = stages[: stages.index("train") + 1] if "train" in stages else stages
    read = {one for stage in before for one in pipeline.get(stage, {}).get("params", []) if isinstance(one, str)}
    for key in space.searched:
        section = key.lstrip("+~").partition(".")[0]
        if section not in read and section not in ("recipe", "debug"):
            raise RequestError(
                f"{key} cannot be searched: nothing up to training reads the section {section!r}, and so no trial "
                f"would differ from another. What is read: {', '.join(sorted(read))}."
            )
