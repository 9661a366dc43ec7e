"""The repository a run belongs to, which is not always the folder it runs in.

`dvc exp run --queue` and the flow run in copies of the repository that are deleted afterwards. What must outlive them
and is no output (downloads, unfinished training, the W&B run's id) lies in the repository they came from.
"""

import os
from pathlib import Path

ORIGIN_VARIABLE = "LIGHTLINE_ORIGIN"  # set by the flow, whose clones know nothing of where they came from
# In the folder that a stage works in, beside its lock: the rows of a training under way, for a flow to show.
LIVE_HISTORY = Path(".lightline", "history.json")
EXPERIMENT_VARIABLE = "LIGHTLINE_EXPERIMENT"  # set by the flow; `dvc exp run` sets DVC_EXP_NAME


def origin() -> Path:
    """Return the root of the user's repository, absolute."""
    # DVC_ROOT is the user's repository even in the temporary copy of a queued experiment.
    return Path(os.environ.get(ORIGIN_VARIABLE) or os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def records() -> Path:
    """Give the folder where runs leave what is no output: `.lightline/` in the user's repository, made on first use."""
    folder = origin() / ".lightline"
    folder.mkdir(exist_ok=True)
    return folder


def experiment_name() -> str | None:
    """Name the DVC experiment this run will be saved as; None for a plain `dvc repro`."""
    return os.environ.get(EXPERIMENT_VARIABLE) or os.environ.get("DVC_EXP_NAME") or None
