"""How soon, and how well, do others classify CIFAR-10 in one epoch on this machine?

CIFAR-10 (JPEG), one run of each, whole commands from the archive or its files to the accuracy on the 10,000 test
images. Ours is `dvc exp run -S recipe=fast_cifar_one_epoch` with all its stages: download, split, training, test, model
file and card. Theirs is a process that trains and tests, by their defaults, on files that lie unpacked; with the same
torch.
"""

import json
import tempfile
from pathlib import Path

from benchmarks.harness import Row
from benchmarks.peer_environment import MissingPeersError, run_peer
from benchmarks.project import Project
from benchmarks.sources import cifar_archive, cifar_folder

_SEED = 1
_PEERS = {
    "fastai_cifar": "fastai {}: xresnet18, one epoch of one-cycle",
    "ultralytics_cifar": "Ultralytics {}: yolo11n-cls, one epoch",
}


def run(quick: bool) -> list[Row]:
    """Return a row for each of the others, ours beside it; quick says nothing of either: the archive is a part."""
    cifar_archive()
    with tempfile.TemporaryDirectory() as folder:
        seconds, accuracy = _ours(Project(Path(folder)))
    return [_row(script, what, seconds, accuracy, judged=not quick) for script, what in _PEERS.items()]


def _ours(project: Project) -> tuple[dict[str, float], float]:
    """Run the whole pipeline; gives the seconds of its stages and of all, and the test accuracy."""
    choices = ("recipe=fast_cifar_one_epoch", "data=folder", f"data.path={cifar_archive()}", "tracking=disabled")
    overrides = [part for choice in (*choices, f"seed={_SEED}") for part in ("-S", choice)]
    seconds = project.run_stages("dvc", "exp", "run", *overrides)
    metrics = json.loads((project.path / "reports/test/metrics.json").read_text(encoding="utf-8"))
    return seconds, metrics["accuracy"]


def _row(script: str, what: str, seconds: dict[str, float], accuracy: float, judged: bool) -> Row:
    ours = f"{seconds['all']:.0f} s (train {seconds['train']:.0f} s), {accuracy:.4f}"
    try:
        found = run_peer(script, cifar_folder(), _SEED)
    except MissingPeersError as error:
        return Row(what.format("").replace(" :", ":"), ours, str(error))
    sooner = found["wall"] > seconds["all"] and found["accuracy"] < accuracy
    return Row(
        what.format(found["version"]), ours, f"{found['wall']:.0f} s, {found['accuracy']:.4f}",
        found["wall"] / seconds["all"], target="sooner, and more accurate", met=sooner if judged else None,
    )  # fmt: skip
