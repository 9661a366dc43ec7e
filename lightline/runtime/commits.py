"""What git has of this folder: files as they were committed, and DVC's experiments, which are commits too."""

import subprocess
from pathlib import Path

from lightline.errors import LightlineError


def git(*arguments: str, folder: Path = Path()) -> str | None:
    """Run git and return what it printed, without the line's end; None where it failed or is not there."""
    try:
        done = subprocess.run(("git", *arguments), cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def committed(rev: str, path: str, folder: Path = Path()) -> str | None:
    """Read the text of a file below a folder in a commit; None where it has none."""
    return git("show", f"{rev}:./{path}", folder=folder)


def find_commit(name: str) -> str:
    """Find the commit of an experiment, of that on HEAD where others have its name, or of a revision.

    Raises:
        LightlineError: there is none, or several experiments on other commits have the name.
    """
    listed = git("for-each-ref", "--format=%(objectname) %(refname)", f"refs/exps/*/*/{name}") or ""
    found = {ref: commit for commit, _, ref in (line.partition(" ") for line in listed.splitlines())}
    head = git("rev-parse", "HEAD") or ""
    if on_head := found.get(f"refs/exps/{head[:2]}/{head[2:]}/{name}"):
        return on_head
    if len(found) > 1:
        commits = ", ".join(found.values())
        raise LightlineError(f"There are {len(found)} experiments {name!r}. Take one by its commit: {commits}.")
    commit, *_ = found.values() or [git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")]
    if commit is None:
        raise LightlineError(
            f"There is no experiment or commit {name!r} here. `dvc exp list --all-commits` lists experiments; "
            f"`dvc exp pull REMOTE {name}` fetches one from elsewhere."
        )
    return commit


def experiment_of(commit: str, folder: Path = Path()) -> str | None:
    """Name the experiment whose commit this is; None where it is of none."""
    listed = git("for-each-ref", f"--points-at={commit}", "--format=%(refname:lstrip=4)", "refs/exps", folder=folder)
    return next(filter(None, (listed or "").splitlines()), None)


def applied_experiment(folder: Path = Path()) -> str | None:
    """Find the commit of the experiment that `dvc exp apply` brought last."""
    return git("rev-parse", "--verify", "--quiet", "refs/exps/exec/EXEC_APPLY", folder=folder)
