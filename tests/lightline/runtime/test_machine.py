"""What this process may use of its machine, by limits in files that a container would have."""

import os
import sys
from types import SimpleNamespace

import psutil
import pytest

from lightline.runtime.memory import free_memory
from lightline_predict import machine
from lightline_predict.machine import num_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


@pytest.fixture(autouse=True)
def container(tmp_path, monkeypatch):
    """A control group a/b, for whose files there is room."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "membership").write_text("1:cpu:/old\n0::/a/b\n")
    monkeypatch.setattr(machine, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)


LIMITS = [({"": "max"}, 8), ({"a": "150000", "a/b": "max"}, 2), ({"a/b": "1"}, 1)]


@pytest.mark.parametrize(("limits", "expected"), LIMITS)
def test_a_containers_limit_of_cores_counts(tmp_path, monkeypatch, limits, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for group, quota in limits.items():
        (tmp_path / group / "cpu.max").write_text(f"{quota} 100000\n")
    assert num_cores() == expected


MEMORY = [
    ({"": ("max", 900)}, 8000),
    ({"a": ("1000", 900), "a/b": ("max", 900)}, 150),
    ({"a": ("9999999", 0), "a/b": ("3000", 500)}, 2550),
    ({"a/b": ("1000", 2000)}, 0),
]


@pytest.mark.parametrize(("limits", "expected"), MEMORY)
def test_a_containers_limit_of_memory_counts_but_for_what_makes_room(tmp_path, monkeypatch, limits, expected):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8000))
    for group, (most, used) in limits.items():
        (tmp_path / group / "memory.max").write_text(f"{most}\n")
        (tmp_path / group / "memory.current").write_text(f"{used}\n")
        (tmp_path / group / "memory.stat").write_text("anon 7\ninactive_file 50\n")
    assert free_memory() == expected
