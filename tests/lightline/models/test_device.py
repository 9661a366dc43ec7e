"""How many threads a training takes, alone and beside others, and what an interruption makes of it."""

from itertools import chain, repeat
from pathlib import Path

import pytest
import torch

from lightline.errors import ParameterError
from lightline.models import device
from lightline.models.device import choose_device, share
from stages.train import epoch_threads
from stages.train.module import Classifier
from tests.support.tiny import tiny_params, train


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One of four cores, on which nobody has set OMP_NUM_THREADS."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(device, "_TORCHS", 4)
    monkeypatch.setattr(device, "num_cores", lambda: 4)
    monkeypatch.setattr(device, "_IS_ASKED_FOR", False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def hardware(num_threads: int | str = "auto"):
    return tiny_params(hardware__num_threads=num_threads).hardware


def test_the_cores_are_shared():
    assert [share(hardware(), num) for num in (0, 1, 2, 3, 4, 9)] == [4, 4, 2, 1, 1, 1]
    assert share(hardware(), 2, num_processes=2) == 1
    assert share(hardware(3), 9) == 3


def test_a_container_has_fewer_and_who_runs_it_may_say_how_many(monkeypatch):
    monkeypatch.setattr(device, "num_cores", lambda: 2)
    assert share(hardware(), 1) == 2
    monkeypatch.setattr(device, "_IS_ASKED_FOR", True)
    assert share(hardware(), 9) == 4


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of threads, at each step that is taken."""
    taken: list[int] = []
    step = Classifier.training_step

    def counted(*arguments):
        taken.append(torch.get_num_threads())
        return step(*arguments)

    monkeypatch.setattr(Classifier, "training_step", counted)
    return taken


def beside(monkeypatch: pytest.MonkeyPatch, *trainings: int) -> None:
    """How many train on this machine, whenever it is asked; at last as many as said last."""
    found = chain(trainings, repeat(trainings[-1]))
    monkeypatch.setattr(epoch_threads, "num_trainings", lambda: next(found))


# Four steps an epoch.
def test_a_training_makes_room_between_two_epochs_and_takes_it_back(monkeypatch, numbers, capsys):
    beside(monkeypatch, 1, 2, 4, 1)
    train(tiny_params(trainer__max_epochs=4))
    assert numbers == [4] * 4 + [2] * 4 + [1] * 4 + [4] * 4
    assert "threads from this epoch on: 2 (trainings on this machine: 2)" in capsys.readouterr().out


def test_alone_nothing_is_said(monkeypatch, numbers, capsys):
    beside(monkeypatch, 1)
    train(tiny_params())
    assert set(numbers) == {4}
    assert "threads" not in capsys.readouterr().out


def test_a_number_holds_whoever_else_trains(monkeypatch, numbers, capsys):
    beside(monkeypatch, 4)
    train(tiny_params(hardware__num_threads=3))
    assert set(numbers) == {3}
    assert "threads" not in capsys.readouterr().out


class KilledError(Exception):
    """In place of a signal."""


def test_what_is_left_of_an_interrupted_epoch_has_the_threads_it_began_with(monkeypatch, numbers):
    params = tiny_params(trainer__max_epochs=2, checkpoint__every_n_train_steps=1)
    step = Classifier.training_step

    def killed(*arguments):
        if len(numbers) == 2:
            raise KilledError
        return step(*arguments)

    beside(monkeypatch, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", killed)
        with pytest.raises(KilledError):
            train(params)
    beside(monkeypatch, 1)
    train(params)
    assert numbers == [2] * 4 + [4] * 4


@pytest.mark.parametrize(
    ("devices", "rank", "expected"),
    [("auto", 0, 0), (2, 1, 1), ([1], 0, 1), ([3, 1], 0, 3), ([3, 1], 1, 1), ([1], 1, 1)],
)
def test_each_process_computes_on_its_own_gpu(monkeypatch, devices, rank, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    asked = tiny_params(hardware__accelerator="auto", hardware__devices=devices).hardware
    assert choose_device(asked) == torch.device("cuda", expected)


def test_a_gpu_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        ParameterError, match=r"hardware\.devices = \[2\]: there is no GPU 2 here; 2 are counted from 0"
    ):
        choose_device(tiny_params(hardware__accelerator="gpu", hardware__devices=[2]).hardware)
