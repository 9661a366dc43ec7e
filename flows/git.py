"""Repositories that runs come from: found, cloned, and asked with git."""

import asyncio
import hashlib
import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flows.dvc_process.client import own_environment
from flows.errors import RequestError, UnavailableError, is_temporary
from lightline.redaction import redacted

CODE = Path(__file__).parents[1]  # the repository this file lies in
_ADDRESS = re.compile(r"[\w.+-]+://|([\w.+-]+@)?[\w.-]+:(?!//)")  # the second is ssh's: user@host:path
_ATTEMPTS, _DELAY = 3, 5.0  # for a repository across a network; seconds


@dataclass(frozen=True)
class Origin:
    """Where a run comes from and its results go to.

    Attributes:
        url: for git, a path or an address.
        home: where this machine keeps the run's cache and records: the DVC project itself, or a folder in the user's
            cache where the repository is elsewhere.
        project: where in the repository the DVC project is to be found, relative to its root.
    """

    url: str
    home: Path
    project: Path = Path()

    @property
    def is_here(self) -> bool:
        return Path(self.url) / self.project == self.home

    @property
    def cache(self) -> Path:
        return self.home / ".dvc" / "cache"

    def changes(self) -> list[str]:
        """List what is not committed in the project, as git's short status has it, with paths in the project.

        Nothing where the repository is elsewhere.
        """
        listed = git("status", "--porcelain", "--no-renames", "-z", "--", ".", folder=self.home) if self.is_here else ""
        above = "" if self.project == Path() else f"{self.project}/"
        return [line[:3] + line[3:].removeprefix(above) for line in listed.split("\0") if line]


def find_origin(repo: str) -> Origin:
    """Find the repository at a path (relative ones start at this project) or at a git address.

    Raises:
        RequestError: there is none.
    """
    try:
        path = CODE / Path(repo).expanduser()
    except RuntimeError as error:  # ~NOBODY
        raise RequestError(f"repo = {repo!r}: {error}") from None
    if not path.exists():
        if not _ADDRESS.match(repo):
            raise RequestError(f"repo = {repo!r}: there is no folder {path}, and it is no git address.")
        return _elsewhere(repo)
    try:
        root = Path(git("rev-parse", "--show-toplevel", folder=path))
    except (RequestError, NotADirectoryError):
        if (path / "HEAD").exists():
            return _elsewhere(str(path))  # a bare repository
        raise RequestError(f"repo = {repo!r}: {path} is not in a git repository.") from None
    _refuse_what_dvc_cannot(root)
    project = find_project(root, path.resolve().relative_to(root))
    return Origin(str(root), root / project, project)


def find_project(root: Path, near: Path) -> Path:
    """Find the DVC project in a work tree: the folder `near` or the next one above it, else the only one that there is.

    near, and what is given: relative to root.

    Raises:
        RequestError: there is none, or several.
    """
    for folder in (near, *near.parents):
        if (root / folder / ".dvc").is_dir():
            return folder
    listed = git("ls-files", "-z", "--", ":(glob)**/.dvc/config", folder=root)
    found = [Path(name).parents[1] for name in listed.split("\0") if name]
    if not found:
        raise RequestError(f"{root} is no DVC project, and holds none; `dvc init` makes it one.")
    if len(found) > 1:
        raise RequestError(
            f"{root} holds several DVC projects, {', '.join(map(str, found))}, and none in {near}. Give the path of "
            "one as repo, or start the flow that lies in it."
        )
    return found[0]


def _refuse_what_dvc_cannot(path: Path) -> None:
    """Refuse a folder in which DVC fails with words that say nothing of it."""
    if set("{}") & set(str(path)):
        raise RequestError(f"{path}: DVC cannot work in a folder with {{ or }} in its path. Rename it.")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="replace")
        raise RequestError(f"{shown}: DVC cannot work in a folder whose path is not valid UTF-8. Rename it.") from None


def homes() -> list[Path]:
    """List where runs may have left something: this project, and what is kept here of repositories elsewhere."""
    from platformdirs import user_cache_path

    return [CODE, *user_cache_path("lightline").glob("*")]


def _elsewhere(url: str) -> Origin:
    from platformdirs import user_cache_path

    name = url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    digest = hashlib.sha256(redacted(url).encode()).hexdigest()[:12]
    home = user_cache_path("lightline") / f"{name}-{digest}"
    project = Path()
    with suppress(RequestError):  # most likely it is the repository that this flow lies in, or has the same layout
        project = Path(git("rev-parse", "--show-prefix", folder=CODE))
    return Origin(url, home, project)


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
                git,
                *("clone", "--quiet", "--no-checkout", "--origin", "origin", *shared, "--", origin.url, str(folder)),
                folder=folder,
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
    """Give git a name where it has none: saving an experiment is a commit, and a commit needs one."""
    try:
        git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", folder=folder)
    except RequestError:
        git("config", "user.name", "Lightline", folder=folder)
        git("config", "user.email", "lightline@localhost", folder=folder)


def experiments(origin: Origin, commit: str, folder: Path) -> dict[str, str]:
    """Map the experiments of a clone's origin on a commit from name to commit; the latest first, where it is here."""
    pattern = f"refs/exps/{commit[:2]}/{commit[2:]}/*"
    if origin.is_here:
        latest_first = ("--sort=-committerdate", "--format=%(objectname)\t%(refname)")
        listed = git("for-each-ref", *latest_first, pattern, folder=origin.home)
    else:
        listed = git("ls-remote", "--quiet", "origin", pattern, folder=folder)
    return {line.rpartition("/")[2]: line.partition("\t")[0] for line in listed.splitlines()}


def experiment_here(origin: Origin, commit: str, name: str) -> str | None:
    """Find the commit of an experiment on a commit, whatever a server knows of its run; None where it is not here."""
    return experiments(origin, commit, origin.home).get(name) if origin.is_here else None


def equals_here(commit: str, folder: Path) -> bool:
    """Tell whether the files in a folder are as in an experiment's commit."""
    # DVC puts files into it that git does not track here: plots, the arguments it had.
    return not git("diff", "--name-only", "--diff-filter=d", commit, folder=folder)


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
        errors="surrogateescape",
        check=False,
    )
    if done.returncode != 0:
        message = redacted(done.stderr.strip() or f"git {arguments[0]} ended with status {done.returncode}")
        raise UnavailableError(message) if is_temporary(message) else RequestError(message)
    return done.stdout.rstrip("\n")
