"""What a sweep is asked for, held to what it composes to in a clone of its commit."""

import re
from pathlib import Path

import yaml

from flows.errors import RequestError
from flows.git import Origin
from flows.sweep.space import Space, parse_space
from flows.sweep.study import Plan, Study, journal
from flows.workspace import Request, open_workspace
from lightline.config.load import check_params
from lightline.config.params import Params


async def check(origin: Origin, name: str, overrides: list[str], repo: str = ".", rev: str = "HEAD") -> Params:
    """Check the space by what each of its corners composes to, and write the study of a new sweep.

    For who has its journal: see `only_writer`. A sweep that is there keeps its commit, whatever rev is.

    Raises:
        LightlineError: something cannot be used, or the name is taken.
    """
    space, file = parse_space(overrides), journal(origin.home, name)
    known = Study.open(file, name) if file.exists() else None
    if known and known.plan.overrides != overrides:
        was = " ".join(map(repr, known.plan.overrides))
        raise RequestError(f"There is a sweep {name!r} already, of {was}. Choose another name, or delete {file}.")
    request = Request(space.corners()[0], repo, known.plan.commit if known else rev)
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
