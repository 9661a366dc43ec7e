"""A failed run's finished stages, recorded: DVC records an experiment where every stage succeeds, and else nothing."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

from lightline.errors import LightlineError
from lightline.redaction import redacted
from lightline.runtime.dvc_cache import without
from lightline.runtime.origin import EXPERIMENT_VARIABLE, origin

_LOCK = Path("dvc.lock")
_OTHERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # by which git would take another repository for ours


def keeping_what_is_finished(work: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap a stage's work: where it fails, what the stages before it have made is recorded, and the message says where.

    For the stages after `test`, by which time hours may lie in a run.
    """

    @wraps(work)
    def kept(params: Any) -> None:
        try:
            work(params)
        except Exception as error:
            if way_on := _way_on():
                _add(error, way_on)
            raise

    return kept


def _add(error: Exception, note: str) -> None:
    if isinstance(error, LightlineError):
        error.args = (f"{error}\n{note}",)
    else:
        error.add_note(note)  # shown below the traceback


def _way_on() -> str:
    """Record an experiment's finished stages and say how to go on; the flow, which can do more, does both by itself."""
    stage, name = os.environ.get("DVC_STAGE"), os.environ.get("DVC_EXP_NAME")
    if stage is None or EXPERIMENT_VARIABLE in os.environ:
        return ""
    if name is None:
        return f"All stages before it are finished, and dvc.lock has them: `dvc repro` then runs {stage} alone."
    try:
        return advice(record(stage, name, os.environ["DVC_EXP_BASELINE_REV"]), stage)
    except Exception as error:  # whatever it is, the stage's own error is what is to be told
        reason = getattr(error, "stderr", None) or str(error)
        return f"The stages before it are in the cache, but could not be recorded as an experiment: {redacted(reason)}"


def advice(experiment: str, stage: str) -> str:
    """Say how to go on after a stage failed, where an experiment has what was finished before."""
    return (
        f"All before it is recorded as experiment {experiment}. The same command with another setting, or with mended "
        f"code, runs {stage} alone. `dvc exp apply {experiment}` brings back what is finished; its `Checkout failed` "
        f"names what {stage} has yet to make, and `dvc repro` goes on from there."
    )


def partial_name(name: str, stage: str, taken: Collection[str]) -> str:
    """Name the experiment NAME without a stage and those after it: NAME-before-STAGE, numbered where that is taken."""
    wanted = f"{name}-before-{stage.partition('@')[0]}"
    return next(one for number in count(1) if (one := f"{wanted}-{number}" if number > 1 else wanted) not in taken)


def record(stage: str, name: str, baseline: str) -> str:
    """Record the working directory, as it was before a stage began, as an experiment in the user's repository.

    An experiment is a commit on its baseline with a ref of its own. Made here without DVC, whose run is still going on,
    and without a change to any file, to git's index or HEAD.

    name: of DVC's experiment; baseline: the commit it starts from.

    Returns the name it is recorded under: that of an equal one, where there is one.

    Raises:
        subprocess.CalledProcessError: git failed; stderr says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = _tree(stage, Path(folder, "index"))
    home = _git("rev-parse", "--absolute-git-dir", folder=origin())
    namespace = f"refs/exps/{baseline[:2]}/{baseline[2:]}"
    listed = _git(f"--git-dir={home}", "for-each-ref", "--format=%(tree) %(refname:lstrip=4)", namespace)
    recorded = {line.partition(" ")[2]: line.partition(" ")[0] for line in listed.splitlines()}
    if equal := [other for other, its_tree in recorded.items() if its_tree == tree]:
        return equal[0]
    found = partial_name(name, stage, recorded)
    commit = _git("commit-tree", tree, "-p", baseline, "-m", f"{name}, without {stage}, which failed")
    # The run may be in a repository of its own: `dvc exp run --temp` and `--queue` make one each.
    _git("push", "--quiet", "--no-verify", home, f"{commit}:{namespace}/{found}")
    return found


def _tree(stage: str, index: Path) -> str:
    """Write a git tree of all tracked files as they are, with a dvc.lock of what is finished."""
    shutil.copy(_git("rev-parse", "--git-path", "index"), index)  # git's own stays as it is
    _git("add", "--update", ":/", index=index)
    lock = _git("hash-object", "-w", "--stdin", given=without(_LOCK.read_text(encoding="utf-8"), stage))
    path = _git("rev-parse", "--show-prefix") + str(_LOCK)
    _git("update-index", "--add", "--cacheinfo", f"100644,{lock},{path}", index=index)
    return _git("write-tree", index=index)


def _git(*arguments: str, folder: Path | None = None, index: Path | None = None, given: str = "") -> str:
    variables = {key: value for key, value in os.environ.items() if key not in _OTHERS}
    done = subprocess.run(
        ("git", *arguments),
        cwd=folder,
        env=variables | ({"GIT_INDEX_FILE": str(index)} if index else {}),
        input=given,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout.rstrip("\n")
