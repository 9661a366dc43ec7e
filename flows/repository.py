"""Repositories that runs come from: found, cloned, and asked with git."""

import asyncio
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from flows.faults import RequestError, UnavailableError, is_temporary
from flows.process import own_environment
from lightline.redaction import redacted

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
        listed = git("status", "--porcelain", "--no-renames", "-z", folder=self.home) if self.is_here else ""
        return [line for line in listed.split("\0") if line]


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


def homes() -> list[Path]:
    """Where runs may have left something: this project, and what is kept here of repositories elsewhere."""
    from platformdirs import user_cache_path

    return [CODE, *user_cache_path("lightline").glob("*")]


def _elsewhere(url: str) -> Origin:
    from platformdirs import user_cache_path

    name = url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    digest = hashlib.sha256(redacted(url).encode()).hexdigest()[:12]
    return Origin(url, user_cache_path("lightline") / f"{name}-{digest}")


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


def experiments(origin: Origin, commit: str, folder: Path) -> dict[str, str]:
    """The experiments that the origin of a clone has on a commit: their commits by name, the latest first."""
    pattern = f"refs/exps/{commit[:2]}/{commit[2:]}/*"
    if origin.is_here:
        latest_first = ("--sort=-committerdate", "--format=%(objectname)\t%(refname)")
        listed = git("for-each-ref", *latest_first, pattern, folder=origin.home)
    else:
        listed = git("ls-remote", "--quiet", "origin", pattern, folder=folder)
    return {line.rpartition("/")[2]: line.partition("\t")[0] for line in listed.splitlines()}


def can_take(root: Path, experiment: str) -> bool:
    """Whether an experiment can be applied to a workspace and nothing there is lost.

    It may be as its commit, or as an experiment that was applied to it; files that git does not track may lie beside,
    where the experiment has none of their names.
    """
    commit = git("rev-parse", "HEAD", folder=root)
    recorded = experiments(Origin(str(root), root), commit, root)
    if git("status", "--porcelain", "--untracked-files=no", folder=root) and not any(
        equals_here(one, root) for one in recorded.values()
    ):
        return False
    untracked = git("ls-files", "-z", "--others", "--exclude-standard", folder=root).split("\0")
    brought = git("ls-tree", "-r", "-z", "--full-tree", "--name-only", recorded[experiment], folder=root).split("\0")
    return not {*untracked} & {*brought} - {""}


def apply(root: Path, experiment: str) -> None:
    """Give the files of a workspace that git tracks the content they have in an experiment."""
    commit = experiments(Origin(str(root), root), git("rev-parse", "HEAD", folder=root), root)[experiment]
    git("restore", f"--source={commit}", "--worktree", "--", ":/", ":(exclude,top).dvc/tmp", folder=root)
    git("update-ref", "refs/exps/exec/EXEC_APPLY", commit, folder=root)  # DVC's note of what was applied last


def equals_here(commit: str, folder: Path) -> bool:
    """Whether the files in a folder are as in an experiment's commit."""
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
        check=False,
    )
    if done.returncode != 0:
        message = redacted(done.stderr.strip() or f"git {arguments[0]} ended with status {done.returncode}")
        raise UnavailableError(message) if is_temporary(message) else RequestError(message)
    return done.stdout.rstrip()
