"""Trainings that are stopped before a step, and what they have written."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stages.train.module import Classifier
from tests.support.tiny import train


class KilledError(Exception):
    """In place of a signal, which tests/faults sends to real processes."""


class Steps:
    """The steps that were taken, of all trainings; the one at which to stop next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.taken: list[int] = []
        self.stop_at = -1
        original = Classifier.training_step

        def counted(module: Classifier, batch: Any, batch_idx: int) -> torch.Tensor:
            step = module.trainer.fit_loop.total_batch_idx
            if step == self.stop_at:
                raise KilledError
            self.taken.append(step)
            return original(module, batch, batch_idx)

        monkeypatch.setattr(Classifier, "training_step", counted)

    def stopped(self, params: Any, at: int) -> None:
        """Train until before a step, counted from 0."""
        self.stop_at = at
        with pytest.raises(KilledError):
            train(params)
        self.stop_at = -1


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for place in ("models", "reports") for path in Path(place).rglob("*.*")}
