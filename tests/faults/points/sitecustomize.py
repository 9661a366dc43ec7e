"""Read by every Python process of a project under test: one of them stops at a named point, alive, until it is killed.

FAULT_POINT: the point's name and how often it is passed before, as in `in download:700`; of a step or a validation,
which one. FAULT_REACHED: the file in which the process writes its number when it stops; when somebody deletes it, the
process goes on, as it does when it is told to end. FAULT_STEPS: the file in which training notes its steps, one a line:
process, step.
"""

import importlib.util
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any


class Point:
    """Where this process is to stop."""

    def __init__(self) -> None:
        self.name, _, count = os.environ.get("FAULT_POINT", "").partition(":")
        self.count = int(count or 0)
        self._times = 0

    def is_at(self, name: str, number: int) -> bool:
        return (name, number) == (self.name, self.count)

    def passes(self, name: str) -> bool:
        """Whether to stop here this time."""
        self._times += name == self.name
        return name == self.name and self._times == self.count + 1

    @staticmethod
    def stop() -> None:
        reached = Path(os.environ["FAULT_REACHED"])
        partial = reached.with_suffix(".partial")
        partial.write_text(str(os.getpid()))
        partial.replace(reached)
        told = _note_sigterm()
        while reached.exists() and not told:
            time.sleep(0.005)


def _note_sigterm() -> list[int]:
    """A list that is empty until SIGTERM has come, and has been handled as it would have been."""
    told: list[int] = []
    handler = signal.getsignal(signal.SIGTERM)

    def note(number: int, frame: Any) -> None:
        told.append(number)
        if callable(handler):
            handler(number, frame)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, note)
    return told


POINT = Point()


def _before(name: str, owner: Any, function: str, condition: Callable[..., bool] | None = None) -> None:
    original = getattr(owner, function)

    def stopped(*arguments: Any, **options: Any) -> Any:
        if condition(*arguments) if condition else POINT.passes(name):
            POINT.stop()
        return original(*arguments, **options)

    setattr(owner, function, stopped)


def _after(name: str, owner: Any, function: str) -> None:
    original = getattr(owner, function)

    def stopped(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        if POINT.passes(name):
            POINT.stop()
        return result

    setattr(owner, function, stopped)


def _training(module: Any) -> None:
    _after("after the data", module, "prepare")
    _before("after the last epoch", module, "write_outputs")
    _before("between two checkpoints", module, "_write_val_logits")


def _steps(module: Any) -> None:
    original = module.Classifier.training_step

    def noted(classifier: Any, batch: Any, batch_idx: int) -> Any:
        step = classifier.trainer.fit_loop.total_batch_idx
        with Path(os.environ["FAULT_STEPS"]).open("a") as file:
            print(os.getpid(), step, file=file)
        if POINT.is_at("in a step", step):
            POINT.stop()
        return original(classifier, batch, batch_idx)

    module.Classifier.training_step = noted
    _before(
        "in validation",
        module.Classifier,
        "validation_step",
        lambda classifier, *_: POINT.is_at("in validation", classifier.trainer.current_epoch),
    )


def _saving(module: Any) -> None:
    save = module.torch.save

    def half(content: Any, path: Any) -> None:
        if isinstance(path, Path) and POINT.passes("in the middle of a save"):
            whole = io.BytesIO()
            save(content, whole)
            path.write_bytes(whole.getvalue()[: whole.tell() // 2])
            POINT.stop()
        save(content, path)

    module.torch.save = half
    _before("between a save and its digest", module, "file_digest")


def _commit(module: Any) -> None:
    name = "before DVC's commit"
    _before(name, module.Stage, "save", lambda stage, *_: stage.addressing == "train" and POINT.is_at(name, 0))


PATCHES: dict[str, Callable[[Any], None]] = {
    "stages.download.ingest": lambda module: _before("in download", module.Counts, "add"),
    "lightline.data.splits": lambda module: _after("in split", module, "write_splits"),
    "stages.train.fit": _training,
    "stages.train.module": _steps,
    "stages.train.state_files": _saving,
    "stages.test.report": lambda module: _after("in test", module, "write_report"),
    "stages.export.exporter": lambda module: _after("in export", module, "export_onnx"),
    "dvc.stage": lambda module: _before(
        "before DVC's commit",
        module.Stage,
        "save",
        lambda stage, *_: POINT.is_at("before DVC's commit", 0) and stage.addressing == "train",
    ),
}


class Finder(MetaPathFinder):
    """Has a module changed right after it was loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in PATCHES:
            return None
        patch = PATCHES.pop(name)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def changed(module: Any) -> None:
            load(module)
            patch(module)

        spec.loader.exec_module = changed  # type: ignore[method-assign]
        return spec


if "FAULT_STEPS" in os.environ:
    sys.meta_path.insert(0, Finder())
