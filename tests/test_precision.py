"""Which arithmetic `auto` chooses."""

import pytest
import torch

from lightline.precision import choose_precision, matrix_dtype
from tests.tiny import tiny_params

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


def test_what_is_asked_for_is_taken():
    asked = tiny_params(trainer__precision="64-true").trainer
    assert choose_precision(asked, torch.device("cpu")) == "64-true"


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("bf16-mixed", torch.bfloat16),
        ("bf16-true", torch.bfloat16),
        ("32-true", torch.float32),
        ("16-mixed", torch.float32),
        ("64-true", torch.float32),
    ],
)
def test_matrices_outside_the_network_are_in_bfloat16_where_the_network_is(precision, dtype):
    assert matrix_dtype(precision) is dtype


def test_this_machine_s_own_answer():
    assert choose_precision(AUTO, torch.device("cpu")) in ("bf16-mixed", "32-true")
