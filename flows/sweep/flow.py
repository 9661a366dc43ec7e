"""The Prefect flow of a sweep: what is asked for is checked, then a controller has it tried."""

from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.crashes import claimed
from flows.git import find_origin
from flows.security import refuse_keys, refuse_open_server
from flows.sweep.check import check
from flows.sweep.controller import Controller
from flows.sweep.study import Study, journal, only_writer
from flows.sweep.trials import Runs
from flows.worker import outlive_worker
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
        origin = find_origin(repo)
        with only_writer(origin.home, name), claimed(origin.home, str(flow_run.id), str(origin.project)):
            params = await check(origin, name, overrides, repo, rev)
            settings = params.sweep.model_copy(
                update={"trials": trials or params.sweep.trials, "parallel": parallel or params.sweep.parallel}
            )
            max_epochs = params.trainer.max_epochs or 1
            study = Study.open(journal(origin.home, name), name, settings, max_epochs)
            # A dot would be the clone of the worker that takes a trial.
            where = str(origin.home) if origin.is_here else repo
            runs = Runs(name, study.plan.identity, where, study.plan.commit)
            controller = Controller(origin, study, runs, settings, max_epochs, logger)
            if continue_pruned:
                logger.info("%d pruned trials go on", study.continue_pruned())
            return Completed(message=await controller.run())
    except LightlineError as error:
        return Failed(message=str(error))
