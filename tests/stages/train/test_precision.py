"""Which arithmetic `auto` chooses."""

from typing import get_args

import pytest
import torch

from lightline.config.training import Trainer
from lightline.errors import ParameterError
from lightline.models.checkpoint import BEST, load_checkpoint
from stages.train.precision import choose_precision, matrix_dtype
from stages.train.trainer import build_trainer
from tests.support.tiny import tiny_params, train

AUTO = tiny_params(trainer__precision="auto").trainer


@pytest.mark.parametrize(
    ("capabilities", "chosen"),
    [
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bf16-mixed"),
        ({"avx512_bf16": False, "avx512_f": True}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_has_the_instructions(capabilities, chosen, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_precision(AUTO, torch.device("cpu")) == chosen


@pytest.mark.parametrize(
    ("capability", "chosen"), [((9, 0), "bf16-mixed"), ((8, 0), "bf16-mixed"), ((7, 5), "16-mixed")]
)
def test_a_gpu_by_its_generation(capability, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision(AUTO, torch.device("cuda", 0)) == chosen


@pytest.mark.parametrize(("precision", "device"), [("32-true", "cpu"), ("bf16-mixed", "cpu"), ("16-mixed", "cuda")])
def test_what_is_asked_for_is_taken(precision, device):
    asked = tiny_params(trainer__precision=precision).trainer
    assert choose_precision(asked, torch.device(device)) == precision


def test_what_a_cpu_cannot_do_is_refused_before_anything_is_recorded():
    """Lightning would train in bf16-mixed, under the name of 16-mixed."""
    asked = tiny_params(trainer__precision="16-mixed")
    with pytest.raises(ParameterError, match="'16-mixed' needs a GPU"):
        choose_precision(asked.trainer, torch.device("cpu"))
    with pytest.raises(ParameterError, match="'16-mixed' needs a GPU"):
        build_trainer(asked)


def test_all_that_is_allowed_is_what_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    allowed = set(get_args(Trainer.model_fields["precision"].annotation))
    for precision in sorted(allowed - {"auto", "16-mixed"}):  # auto is one of the others; 16-mixed needs a GPU
        params = tiny_params(trainer__precision=precision, trainer__max_epochs=1)
        assert build_trainer(params).precision == precision
        train(params)
        assert all(value.dtype in (torch.float32, torch.int64) for value in load_checkpoint(BEST).state_dict.values())


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("bf16-mixed", torch.bfloat16),
        ("32-true", torch.float32),
        ("16-mixed", torch.float32),
    ],
)
def test_matrices_outside_the_network_are_in_bfloat16_where_the_network_is(precision, dtype):
    assert matrix_dtype(precision) is dtype


def test_this_machine_s_own_answer():
    assert choose_precision(AUTO, torch.device("cpu")) in ("bf16-mixed", "32-true")
