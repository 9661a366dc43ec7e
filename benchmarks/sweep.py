"""What does pruning save a sweep, and what does a sweep cost beyond its runs?

40 trials of one epoch, two at once, validated four times in it, with Hyperband against all of them to their end:
`recipe=fast_cifar_one_epoch` on CIFAR-10 (JPEG), its learning rate and label smoothing; without that archive the cnn on
the digits. The best val metric of both is beside. The overhead of a trial is what passes before its run is asked for
and after it has ended, until the study is told.
"""

import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.harness import Row
from benchmarks.project import Project
from benchmarks.sources import MissingDataError, cifar_archive

_SPACE = ["optimizer.lr=tag(log, interval(0.02, 2))", "loss.label_smoothing=interval(0, 0.4)"]
_MOST = 3.0  # seconds a trial beyond its run


@dataclass(frozen=True)
class _Found:
    seconds: float
    study: Any

    @property
    def best(self) -> str:
        return f"{self.study.best_value:.4f}"

    @property
    def overheads(self) -> list[float]:
        trials = [trial for trial in self.study.trials if "run_seconds" in trial.user_attrs]
        return [trial.duration.total_seconds() - trial.user_attrs["run_seconds"] for trial in trials if trial.duration]


def run(quick: bool) -> list[Row]:
    """Return a row for what pruning saves, and one for the overhead."""
    number = 4 if quick else 40
    what, settings = _data(quick)
    pruned = _swept(settings, number, "sweep.pruner=hyperband")
    whole = _swept(settings, number, "sweep.pruner=null")
    metric = whole.study.user_attrs["monitor"]
    ended = sum(trial.state.name == "PRUNED" for trial in pruned.study.trials)
    overhead = statistics.median(pruned.overheads + whole.overheads)
    return [
        Row(
            f"{what}, {number} trials, pruned against all to their end: seconds; best {metric}",
            f"{pruned.seconds:.0f} s, {ended} ended early; {pruned.best}",
            f"{whole.seconds:.0f} s; {whole.best}",
            whole.seconds / pruned.seconds,
        ),
        Row(
            "seconds of a trial beyond its run (median)", f"{overhead:.2f} s",
            target=f"under {_MOST:g} s", met=None if quick else overhead < _MOST,
        ),
    ]  # fmt: skip


def _data(quick: bool) -> tuple[str, list[str]]:
    """Choose what is trained: what it is, and the settings."""
    validated = ["trainer.val_check_interval=0.25", "trainer.monitor=val_accuracy"]  # the loss itself is searched
    try:
        if not quick:
            settings = ["recipe=fast_cifar_one_epoch", "data=folder", f"data.path={cifar_archive()}"]
            return "CIFAR-10 (JPEG)", [*settings, "split=predefined", *validated]
    except MissingDataError:
        pass
    return "digits", ["optimizer=sgd", "trainer.max_epochs=1", *validated]


def _swept(settings: list[str], number: int, pruner: str) -> _Found:
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        words = [word for setting in (*settings, *_SPACE, pruner) for word in ("-S", setting)]
        counts = ("--trials", str(number), "--parallel", "2")
        cost = project.run(sys.executable, "-m", "flows.sweep", "run", "s", *words, *counts)
        file = project.path / ".lightline/sweeps/s.journal"
        kept = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(file))))
        study = optuna.create_study(direction=kept.direction)  # in memory: the file goes
        study.add_trials(kept.trials)
        study.set_user_attr("monitor", kept.user_attrs["monitor"])
        return _Found(cost.wall, study)
