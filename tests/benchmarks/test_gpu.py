"""What of `python -m benchmarks.gpu` can be seen without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import questions
from benchmarks.gpu import wheels
from benchmarks.gpu.work import Plan, failed, last_line


def test_without_a_gpu_it_says_so_and_stops():
    command = (sys.executable, "-m", "benchmarks.gpu")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "finds no GPU here" in done.stderr
    assert "Traceback" not in done.stderr
    assert "gpu" not in questions()  # which `make bench` would ask


def test_a_folder_without_wheels_is_told_what_fills_it(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"no wheels; `python -m benchmarks\.gpu\.wheels .*` fills it"):
        wheels.install(tmp_path, tmp_path / "site")


def test_what_is_gathered_is_all_that_is_needed_but_torch_and_what_is_there():
    names = [one.partition("==")[0] for one in wheels._needed({"numpy", "lightning"})]
    assert {"pydantic", "pydantic-core", "hydra-core", "antlr4-python3-runtime"} <= set(names)
    assert not {"numpy", "lightning", "torch", "torchvision", "triton"} & set(names)
    assert wheels.missing() == []


def test_a_trial_is_small_and_what_a_part_asks_for_wins():
    overrides = Plan("cpu", 10).overrides("recipe=resnet18_cifar", "trainer.batch_size=8")
    assert "hardware=cpu" in overrides
    assert "model=airbench_narrow" in overrides
    assert [one for one in overrides if one.startswith(("recipe", "trainer.batch_size"))] == [
        "recipe=resnet18_cifar", "trainer.batch_size=8",
    ]  # fmt: skip
    assert "model=airbench_narrow" not in Plan("gpu", 10).overrides()


def test_what_fails_is_a_row_that_says_why():
    row = failed("fsdp", RuntimeError("one\n | two"))
    assert (row.ours, row.met) == ("failed: one / two", False)
    assert json.dumps(row.as_dict())
    assert last_line("Traceback:\n  file\nValueError: no\n\n") == "ValueError: no"
