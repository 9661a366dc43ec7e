"""A run's own copy of a repository: a clone of one commit, with the cache and the experiments of where it came from."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from flows.crashes import Claim
from flows.dvc_process.client import DvcProcess, Listener
from flows.errors import RequestError
from flows.git import Origin, clone, equals_here, experiments, find_origin, find_project, git
from lightline.runtime.origin import ORIGIN_VARIABLE
from lightline.runtime.partial_experiment import partial_name


@dataclass(frozen=True)
class Request:
    """What a run is asked to do; the fields are the flow's parameters."""

    overrides: list[str] = field(default_factory=list)
    repo: str = "."
    rev: str = "HEAD"
    experiment: str | None = None
    targets: list[str] = field(default_factory=list)


@dataclass
class Workspace:
    """A clone in which stages are reproduced.

    Attributes:
        project: the DVC project in the clone, relative to its root.
        experiment: the name under which the run will be saved.
        changed: parameters: (dotted key, value in the commit, value in this run).
        left: those of them that no override asked for: the commit's params.yaml had values that its conf/ has not.
        steps: (stage, all that is reproduced with it), in order.
        changed_data: the .dvc files of the source whose data is changed in the origin, and not added.
        recorded: the experiments that the origin has on this commit already: their commits by name.
    """

    origin: Origin
    claim: Claim
    dvc: DvcProcess
    project: Path = Path()
    commit: str = ""
    experiment: str = ""
    changed: list[tuple[str, Any, Any]] = field(default_factory=list)
    left: list[tuple[str, Any, Any]] = field(default_factory=list)
    steps: list[tuple[str, list[str]]] = field(default_factory=list)
    changed_data: list[str] = field(default_factory=list)
    recorded: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Of the DVC project in the clone."""
        return self.claim.folder / self.project

    async def reproduce(self, stages: list[str], listener: Listener) -> bool:
        """Bring stages up to date; says whether the last of them ran."""
        return await self.dvc.call("reproduce", listener, stages=stages)

    async def save(self, targets: list[str]) -> None:
        """Record the experiment in the origin."""
        await self.dvc.call("save", name=self.experiment, targets=self._stages(targets))

    async def save_before(self, stage: str) -> str:
        """Record in the origin what was finished before a stage that failed; gives the name of that experiment."""
        await self.dvc.call("forget", stage=stage)
        if equal := self.equal_experiment():
            return equal
        name = partial_name(self.experiment, stage, self.recorded)
        finished = takewhile(lambda step: step[0] != stage, self.steps)
        await self.dvc.call("save", name=name, targets=[one for _, stages in finished for one in stages])
        return name

    async def close(self) -> None:
        """Stop what runs in it and delete it."""
        await self.dvc.stop()
        self.claim.release()

    def uncommitted(self) -> tuple[list[str], list[str]]:
        """List what is not committed where the run comes from: what it reads all the same, as data, and the rest."""
        added = [f" M {file.removesuffix('.dvc')} (`dvc add` and a commit take it)" for file in self.changed_data]
        changes = [*added, *self.origin.changes()]
        params = yaml.safe_load((self.folder / "params.yaml").read_bytes())
        paths = filter(None, (*map(params["data"].get, ("path", "corrections")), params["model"].get("weights")))
        sources = [self.origin.home / Path(path).expanduser() for path in paths]
        # As lightline.runtime.places finds them: in the clone, where the commit has them.
        sources = [source for source in sources if not self._has(source)]
        there = {change: self.origin.home / change[3:] for change in changes}
        read = [change for change in changes if any(_overlap(there[change], source) for source in sources)]
        return read, [change for change in changes if change not in read]

    def _has(self, source: Path) -> bool:
        """Tell whether the clone has a path of the user's repository."""
        home = self.origin.home
        return source.is_relative_to(home) and (self.folder / source.relative_to(home)).exists()

    def _stages(self, targets: list[str]) -> list[str]:
        """List the stages of the plan; none for all that there are, which DVC finds faster by itself."""
        return [name for _, names in self.steps for name in names] if targets else []

    def equal_experiment(self) -> str | None:
        """Find an experiment of the origin in which everything is as it is here."""
        for name in self._recorded_with("params.yaml", "dvc.lock"):
            if equals_here(self.recorded[name], self.folder):
                return name
        return None

    async def take_what_is_known(self, targets: list[str]) -> None:
        """Start from the results that the origin has for these parameters; DVC then checks whether they still hold."""
        if equal := self._recorded_with("params.yaml"):
            lock = git("show", f"{self.recorded[equal[0]]}:./dvc.lock", folder=self.folder)
            (self.folder / "dvc.lock").write_text(f"{lock}\n", encoding="utf-8")
        if equal or not self.changed:
            await self.dvc.call("check_out", stages=self._stages(targets))

    def _recorded_with(self, *files: str) -> list[str]:
        """List the recorded experiments in which these files are as they are here, the latest first."""
        if not self.origin.is_here or not all((self.folder / file).exists() for file in files):
            return []  # of a repository elsewhere, a clone has no experiments
        here = git("hash-object", *files, folder=self.folder).split()
        asked = "".join(f"{commit}:./{file}\n" for commit in self.recorded.values() for file in files)
        told = git("cat-file", "--batch-check=%(objectname)", folder=self.folder, given=asked).splitlines()
        rows = [told[n : n + len(files)] for n in range(0, len(told), len(files))]
        return [name for name, row in zip(self.recorded, rows, strict=True) if row == here]


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


async def prepare(request: Request, listener: Listener) -> Workspace:
    """Clone, compose the parameters, plan. The workspace must be closed.

    Raises:
        RequestError, ParameterError: something asked for is not to be had.
        UnavailableError: the repository cannot be reached.
    """
    origin = find_origin(request.repo)
    claim = Claim(origin.home)
    workspace = Workspace(origin, claim, DvcProcess(claim.descriptor))  # loads DVC while git clones
    try:
        await _fill(workspace, request, listener)
    except BaseException:
        await workspace.close()
        raise
    return workspace


async def _fill(workspace: Workspace, request: Request, listener: Listener) -> None:
    call, origin, root = workspace.dvc.call, workspace.origin, workspace.claim.folder
    root.mkdir()
    workspace.commit = await clone(origin, request.rev, root)
    workspace.project = find_project(root, origin.project)
    await call(
        "open",
        listener,
        clone=str(root),
        project=str(workspace.folder),
        record=str(workspace.claim.record),
        cache=str(origin.cache),
        origin=str(origin.home) if origin.is_here else None,
        environment={ORIGIN_VARIABLE: str(origin.home)},
    )
    try:
        changed, left = await call("compose", overrides=request.overrides)
    except RequestError as error:
        raise RequestError(_with_uncommitted(str(error), origin)) from None
    workspace.changed = [tuple(change) for change in changed]
    workspace.left = [tuple(change) for change in left]
    workspace.recorded = experiments(origin, workspace.commit, root)
    workspace.experiment = await call("name", wanted=request.experiment, taken=list(workspace.recorded))
    workspace.steps = [tuple(step) for step in await call("plan", targets=request.targets)]
    if origin.is_here:
        workspace.changed_data = await call("changed_data", origin=str(origin.home))
    await workspace.take_what_is_known(request.targets)


def _with_uncommitted(message: str, origin: Origin) -> str:
    """Add to an error in the parameters what in conf/ and extensions/ is not committed, which may be why."""
    paths = [change[3:] for change in origin.changes() if change[3:].startswith(("conf/", "extensions/"))]
    paths = [path for path in paths if path not in message]
    return f"{message}\nNot committed, and so no part of this run: {', '.join(paths)}." if paths else message


class WorkspacePrefetch:
    """A workspace that is prepared in a thread, while the main one still has Prefect to load."""

    def __init__(self, request: Request):
        self._request = request
        self._lines: list[str] = []
        self._result: Workspace | BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = asyncio.run(prepare(self._request, self._lines.append))
        except BaseException as error:
            self._result = error

    async def take(self, listener: Listener) -> Workspace:
        """Wait for what `prepare` would give, and hand it over, once."""
        await asyncio.to_thread(self._thread.join)
        for line in self._lines:
            listener(line)
        result, self._result = self._result, None
        if isinstance(result, BaseException):
            raise result
        assert result is not None
        return result

    def discard(self) -> None:
        """Close the workspace, where nobody took it."""
        self._thread.join()
        if isinstance(self._result, Workspace):
            asyncio.run(self._result.close())


@asynccontextmanager
async def open_workspace(
    request: Request, listener: Listener, ahead: WorkspacePrefetch | None = None
) -> AsyncIterator[Workspace]:
    """Prepare a workspace, and close it at the end, whatever happens."""
    workspace = await (ahead.take(listener) if ahead else prepare(request, listener))
    try:
        yield workspace
    finally:
        await workspace.close()
