"""Results of a run in the user's workspace: brought there where nothing would be lost.

As `dvc exp apply` does, which would also take all that git does not track, photos too, away and bring it back.
"""

import subprocess
import sys
from pathlib import Path

from flows.git import Origin, equals_here, experiments, git


def can_take(root: Path, experiment: str) -> bool:
    """Tell whether an experiment can be applied to a workspace and nothing there is lost.

    It may be as its commit, or as an experiment that was applied to it; files that git does not track may lie beside,
    where the experiment has none of their names.
    """
    commit = git("rev-parse", "HEAD", folder=root)
    recorded = experiments(Origin(str(root), root), commit, root)
    if git("status", "--porcelain", "--untracked-files=no", folder=root) and not any(
        equals_here(one, root) for one in recorded.values()
    ):
        return False
    listed = git("ls-files", "-z", "--others", "--exclude-standard", "--full-name", ":/", folder=root)
    brought = git("ls-tree", "-r", "-z", "--full-tree", "--name-only", recorded[experiment], folder=root).split("\0")
    return not {*listed.split("\0")} & {*brought} - {""}


def apply(root: Path, experiment: str) -> bool:
    """Give a workspace the files of an experiment, git's and DVC's; says whether all that it has came."""
    commit = experiments(Origin(str(root), root), git("rev-parse", "HEAD", folder=root), root)[experiment]
    git("restore", f"--source={commit}", "--worktree", "--", ":/", ":(exclude).dvc/tmp", folder=root)
    git("update-ref", "refs/exps/exec/EXEC_APPLY", commit, folder=root)  # DVC's note of what was applied last
    command = (sys.executable, "-m", "dvc", "checkout", "--force")  # with --quiet it says nothing of why it failed
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    # Stages that were not asked for and never ran have nothing to bring.
    return done.returncode == 0 or "Checkout failed" in done.stderr
