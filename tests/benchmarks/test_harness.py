import sys

import pytest

from benchmarks.harness import run_command

_HOLD = "held = b'x' * ({} << 20)"


def test_a_command_is_charged_for_its_own_memory_and_its_childrens(tmp_path):
    few, many = (run_command((sys.executable, "-c", _HOLD.format(size)), tmp_path).memory for size in (1, 100))
    assert many - few == pytest.approx(99 << 20, abs=8 << 20)
    child = f"import subprocess, sys; subprocess.run((sys.executable, '-c', {_HOLD.format(100)!r}))"
    assert run_command((sys.executable, "-c", child), tmp_path).memory == pytest.approx(many, abs=8 << 20)


def test_a_command_works_in_its_folder_and_is_charged_for_its_cpu(tmp_path):
    code = "import os, pathlib; pathlib.Path('here').write_text(os.environ['SAID']); sum(range(10**7))"
    cost = run_command((sys.executable, "-c", code), tmp_path, SAID="hello")
    assert (tmp_path / "here").read_text() == "hello"
    assert cost.cpu > 0


def test_a_command_that_fails_is_told_with_what_it_printed(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)ended with status 1.*no luck"):
        run_command((sys.executable, "-c", "raise SystemExit('no luck')"), tmp_path)
