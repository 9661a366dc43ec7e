"""`python -m lightline`: which commands there are, and by which names."""

import subprocess
import sys

import pytest

from tests.support import ROOT

NAMES = "join keep labels monitor predict promote repair report sign sweep trace tune".split()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_each_command_is_listed_with_what_it_does(arguments):
    usage, *lines = run("lightline", *arguments).stdout.splitlines()
    assert usage.startswith("usage: python -m lightline COMMAND")
    assert [line.split()[0] for line in lines] == NAMES
    assert all(line.endswith(".") and len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_says_what_it_takes(name):
    assert run("lightline", name, "--help").stdout.startswith(f"usage: python -m lightline {name}")


@pytest.mark.parametrize(("former", "name"), [("onnx_model", "predict"), ("tune", "tune"), ("repair", "repair")])
def test_former_names_work_and_say_the_new_one(former, name):
    found = run(f"lightline.{former}", "--help")
    assert found.stdout.startswith(f"usage: python -m lightline {name}")
    assert found.stderr == f"note: this command is `python -m lightline {name}` now\n"


def test_another_word_is_refused_with_those_that_are_allowed():
    found = run("lightline", "foretell")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == f"error: 'foretell' is no command; there are {', '.join(NAMES)}.\n"


def test_a_reader_that_has_enough_ends_a_command_quietly():
    command = f"{sys.executable} -m lightline --help | true; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stderr == ""
    assert found.returncode in (0, 141)  # whichever of the two was quicker
