"""A run's own copy of a repository: a clone of one commit, with the cache and the experiments of where it came from."""

import asyncio
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.faults import RequestError, UnavailableError, is_temporary, redacted
from flows.process import DvcProcess, Listener, own_environment
from lightline.origin import ORIGIN_VARIABLE

CODE = Path(__file__).parents[1]  # the repository this file lies in
_ATTEMPTS, _DELAY = 3, 5.0  # for a repository across a network; seconds


@dataclass(frozen=True)
class Origin:
    """Where a run comes from and its results go to.

    Attributes:
        url: for git, a path or an address.
        home: where this machine keeps the run's cache and records: the repository itself, or a folder in the user's
            cache where the repository is elsewhere.
    """

    url: str
    home: Path

    @property
    def is_here(self) -> bool:
        return self.url == str(self.home)

    @property
    def cache(self) -> Path:
        return self.home / ".dvc" / "cache"

    def changes(self) -> list[str]:
        """What is not committed, as git's short status has it; nothing where the repository is elsewhere."""
        return git("status", "--porcelain", folder=self.home).splitlines() if self.is_here else []


def find_origin(repo: str) -> Origin:
    """The repository at a path (relative ones start at this project) or at a git address.

    Raises:
        RequestError: there is none.
    """
    path = CODE / Path(repo).expanduser()
    if not path.exists():
        if "://" not in repo and not repo.startswith("git@"):
            raise RequestError(f"repo = {repo!r}: there is no folder {path}, and it is no git address.")
        return _elsewhere(repo)
    try:
        root = Path(git("rev-parse", "--show-toplevel", folder=path))
    except (RequestError, NotADirectoryError):
        if (path / "HEAD").exists():
            return _elsewhere(str(path))  # a bare repository
        raise RequestError(f"repo = {repo!r}: {path} is not in a git repository.") from None
    if not (root / ".dvc").is_dir():
        raise RequestError(f"repo = {repo!r}: {root} is no DVC project; `dvc init` makes it one.")
    return Origin(str(root), root)


def _elsewhere(url: str) -> Origin:
    from platformdirs import user_cache_path

    name = url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    digest = hashlib.sha256(redacted(url).encode()).hexdigest()[:12]
    return Origin(url, user_cache_path("lightline") / f"{name}-{digest}")


@dataclass
class Workspace:
    """A clone in which stages are reproduced.

    Attributes:
        experiment: the name under which the run will be saved.
        changed: parameters: (dotted key, value in the commit, value in this run).
        steps: (stage, all that is reproduced with it), in order.
        recorded: the experiments that the origin has on this commit already: their commits by name.
    """

    origin: Origin
    folder: Path
    commit: str
    dvc: DvcProcess
    experiment: str = ""
    changed: list[tuple[str, Any, Any]] = field(default_factory=list)
    steps: list[tuple[str, list[str]]] = field(default_factory=list)
    recorded: dict[str, str] = field(default_factory=dict)

    async def reproduce(self, stages: list[str], listener: Listener) -> bool:
        """Bring stages up to date; says whether the last of them ran."""
        return await self.dvc.call("reproduce", listener, stages=stages)

    async def save(self, targets: list[str]) -> None:
        """Record the experiment in the origin."""
        stages = [name for _, names in self.steps for name in names] if targets else []
        await self.dvc.call("save", name=self.experiment, targets=stages)

    def equal_experiment(self) -> str | None:
        """An experiment of the origin in which everything is as it is here."""
        for name in self._recorded_with("params.yaml", "dvc.lock"):
            # Into an experiment's commit DVC puts files that git does not track here: plots, the arguments it had.
            if not git("diff", "--name-only", "--diff-filter=d", self.recorded[name], folder=self.folder):
                return name
        return None

    async def take_what_is_known(self) -> None:
        """Start from the results that the origin has for these parameters; DVC then checks whether they still hold."""
        if equal := self._recorded_with("params.yaml"):
            lock = git("show", f"{self.recorded[equal[0]]}:dvc.lock", folder=self.folder)
            (self.folder / "dvc.lock").write_text(f"{lock}\n", encoding="utf-8")
        if equal or not self.changed:
            await self.dvc.call("check_out", stages=[name for _, names in self.steps for name in names])

    def _recorded_with(self, *files: str) -> list[str]:
        """The recorded experiments in which these files are as they are here, the latest first."""
        if not self.origin.is_here or not all((self.folder / file).exists() for file in files):
            return []  # of a repository elsewhere, a clone has no experiments
        here = git("hash-object", *files, folder=self.folder).split()
        asked = "".join(f"{commit}:{file}\n" for commit in self.recorded.values() for file in files)
        told = git("cat-file", "--batch-check=%(objectname)", folder=self.folder, given=asked).splitlines()
        rows = [told[n : n + len(files)] for n in range(0, len(told), len(files))]
        return [name for name, row in zip(self.recorded, rows, strict=True) if row == here]


@asynccontextmanager
async def open_workspace(
    origin: Origin, rev: str, overrides: list[str], experiment: str | None, targets: list[str], listener: Listener
) -> AsyncIterator[Workspace]:
    """Clone, compose the parameters, plan; the clone is deleted at the end, whatever happens.

    Raises:
        RequestError, ParameterError: something asked for is not to be had.
        UnavailableError: the repository cannot be reached.
    """
    dvc = DvcProcess.take()  # loads DVC while git clones
    parent = origin.home / ".dvc" / "tmp" / "flows"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        commit = await clone(origin, rev, folder)
        workspace = Workspace(origin, folder, commit, dvc)
        await _prepare(workspace, overrides, experiment, targets, listener)
        yield workspace
    finally:
        await dvc.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _prepare(
    workspace: Workspace, overrides: list[str], experiment: str | None, targets: list[str], listener: Listener
) -> None:
    call, origin = workspace.dvc.call, workspace.origin
    await call(
        "open",
        listener,
        clone=str(workspace.folder),
        cache=str(origin.cache),
        origin=str(origin.home) if origin.is_here else None,
        environment={ORIGIN_VARIABLE: str(origin.home)},
    )
    workspace.changed = [tuple(change) for change in await call("compose", overrides=overrides)]
    workspace.recorded = _recorded(workspace)
    workspace.experiment = await call("name", wanted=experiment, taken=list(workspace.recorded))
    workspace.steps = [tuple(step) for step in await call("plan", targets=targets)]
    await workspace.take_what_is_known()


async def clone(origin: Origin, rev: str, folder: Path) -> str:
    """Check a revision out into an empty folder; gives its commit.

    Raises:
        RequestError: there is no such revision.
        UnavailableError: the repository cannot be reached.
    """
    shared = ("--shared",) if origin.is_here else ()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await asyncio.to_thread(
                git, "clone", "--quiet", "--no-checkout", *shared, "--", origin.url, str(folder), folder=folder
            )
            break
        except UnavailableError:
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(_DELAY)
    commit = _resolve(origin, rev, folder)
    git("checkout", "--quiet", "--detach", commit, folder=folder)
    _identify(folder)
    return commit


def _resolve(origin: Origin, rev: str, folder: Path) -> str:
    # Branches here have their names in the repository itself; a clone knows those of elsewhere as remote ones.
    names = [rev] if origin.is_here else [f"refs/remotes/origin/{rev}", rev]
    for name in names:
        try:
            return git(
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                f"{name}^{{commit}}",
                folder=origin.home if origin.is_here else folder,
            )
        except RequestError:
            continue
    raise RequestError(f"rev = {rev!r}: {redacted(origin.url)} has no such branch, tag or commit.")


def _identify(folder: Path) -> None:
    """Saving an experiment is a commit, and a commit needs a name."""
    try:
        git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", folder=folder)
    except RequestError:
        git("config", "user.name", "Lightline", folder=folder)
        git("config", "user.email", "lightline@localhost", folder=folder)


def _recorded(workspace: Workspace) -> dict[str, str]:
    """The experiments that the origin has on this commit, by name, with their commits; the latest first."""
    pattern = f"refs/exps/{workspace.commit[:2]}/{workspace.commit[2:]}/*"
    if workspace.origin.is_here:
        latest_first = ("--sort=-committerdate", "--format=%(objectname)\t%(refname)")
        listed = git("for-each-ref", *latest_first, pattern, folder=workspace.origin.home)
    else:
        listed = git("ls-remote", "--quiet", "origin", pattern, folder=workspace.folder)
    return {line.rpartition("/")[2]: line.partition("\t")[0] for line in listed.splitlines()}


def git(*arguments: str, folder: Path, given: str = "") -> str:
    """Run git, with a text for its stdin; gives what it printed.

    Raises:
        UnavailableError, RequestError: git failed; the message is git's own.
    """
    done = subprocess.run(
        ("git", *arguments),
        cwd=folder,
        env={**own_environment(), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        message = redacted(done.stderr.strip() or f"git {arguments[0]} ended with status {done.returncode}")
        raise UnavailableError(message) if is_temporary(message) else RequestError(message)
    return done.stdout.rstrip()
