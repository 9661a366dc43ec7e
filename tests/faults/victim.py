"""A command in a project that is killed somewhere: proof that it was alive there, and that nothing of it lives on."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.project import Project
from tests.support.workspace import lives

_POINTS = Path(__file__).parent / "points"
_NOTICE = 5.0  # seconds in which a stage has heard of the end of its DVC
_PATIENCE = 120.0  # seconds for a point to be reached, or an orphan to go


@dataclass(frozen=True)
class Kill:
    """What is killed where.

    kind: "stage": the process of the stage; "dvc" or "flow": that of the command, which is one or the other; "all": all
    processes of the command at once; "wandb": W&B's service, and nothing else.
    point: a name and a count that tests/faults/points knows, or "at random": then `count` is in hundredths of a second.
    """

    kind: str
    point: str
    count: int = 0

    def __str__(self) -> str:
        return f"{self.kind}, {self.point} ({self.count})"


class Victim:
    """A command that runs in a project.

    Attributes:
        hit: the process that took the signal, which was alive.
    """

    def __init__(self, project: Project, command: tuple[str, ...], kill: Kill | None = None):
        self.kill = kill
        self.hit: int | None = None
        self._reached = project.path.parent / "reached"
        self._reached.unlink(missing_ok=True)
        self._log = project.path.parent / "log"
        point = {"FAULT_POINT": f"{kill.point}:{kill.count}"} if kill else {}
        environment = os.environ | point | {
            "FAULT_REACHED": str(self._reached),
            "FAULT_STEPS": str(project.path.parent / "steps"),
            "PYTHONPATH": str(_POINTS),
            "WANDB_MODE": "offline" if kill and kill.kind == "wandb" else "disabled",
        }  # fmt: skip
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=project.path, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def finish(self) -> int:
        """Let it end; gives its exit status."""
        return self.process.wait(_PATIENCE * 5)

    def said(self) -> str:
        """What all commands of the project have printed."""
        return self._log.read_text()

    def strike(self) -> None:
        """Kill what is to be killed, see it die, and wait until none of the command's processes is left."""
        assert self.kill is not None
        stage = self._at_random() if self.kill.point == "at random" else self._at_point()
        family = self._family()
        if stage is not None:
            self.hit = self._target(stage, family)
            assert psutil.Process(self.hit).status() != psutil.STATUS_ZOMBIE
            targets = family if self.kill.kind == "all" else [psutil.Process(self.hit)]
            for do in (psutil.Process.suspend, psutil.Process.kill):  # none sees another's end
                for target in targets:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        do(target)
        if self.kill.kind in {"dvc", "flow"}:  # who waits at the point is told by those that watch over it
            with contextlib.suppress(AssertionError):
                self._wait(lambda: self._has_ended(family), "", _NOTICE)
        self._reached.unlink(missing_ok=True)
        self._wait(lambda: self._has_ended(family), "end of all its processes")

    def _has_ended(self, family: list[psutil.Process]) -> bool:
        return self.process.poll() is not None and not any(lives(process.pid) for process in family)

    def _target(self, stage: int, family: list[psutil.Process]) -> int:
        assert self.kill is not None
        if self.kill.kind == "wandb":
            return next(process.pid for process in family if process.name().startswith("wandb-core"))
        return stage if self.kill.kind == "stage" else self.process.pid

    def _at_point(self) -> int:
        self._wait(lambda: self._reached.exists() or self.process.poll() is not None, str(self.kill))
        assert self._reached.exists(), f"{self.kill} was never reached:\n{self.said()[-3000:]}"
        return int(self._reached.read_text())

    def _at_random(self) -> int | None:
        """The innermost process after some time; None where all was over before."""
        assert self.kill is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.kill.count / 100)
            assert self.process.returncode == 0, self.said()
            return None
        family = self._family()
        return family[-1].pid if family else None

    def _family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process.pid)
            return [process, *process.children(recursive=True)]
        return []

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain for: {what}\n{self.said()[-3000:]}")
            time.sleep(0.01)
