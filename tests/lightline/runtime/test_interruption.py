"""Ctrl-C and SIGTERM while a command loads its libraries: real processes, interrupted as a certain import has ended."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support import ROOT

INT, TERM = signal.SIGINT, signal.SIGTERM

# The command, the module after whose import it is interrupted, and with what.
INSTANTS = [
    ("stages.source", "lightline.errors", INT),
    ("stages.download", "numpy", INT),
    ("stages.train", "yaml", INT),
    ("stages.train", "torch._C", TERM),
    ("stages.train", "lightning.pytorch", INT),
    ("stages.quantize", "torch.nn", INT),
    ("lightline tune lr_find", "torch.fx", INT),
    ("lightline predict a b", "numpy", INT),
    ("lightline repair", "psutil", INT),
    ("flows.pipeline --repo .", "flows.workspace", INT),
    ("flows.pipeline --repo .", "prefect.client.orchestration", INT),
    ("flows.worker", "flows.git", TERM),
    ("flows.worker --help", "prefect.cli._app", INT),
    ("benchmarks", "benchmarks.images", INT),
]


@pytest.mark.parametrize(("command", "module", "number"), INSTANTS, ids=lambda value: str(value))
def test_an_interrupted_start_is_a_word_and_a_status(tmp_path, command, module, number):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPROFILEIMPORTTIME": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    start = [sys.executable, "-m", *command.split()]
    with subprocess.Popen(start, cwd=tmp_path, env=environment, **pipes) as process:
        assert process.stderr is not None
        loaded = (line.rpartition("|")[2].strip() for line in process.stderr)
        assert module in loaded, "it was loaded"
        process.send_signal(number)
        out, err = process.communicate()
    told = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert (out, told) == ("", [told[0]])
    assert told[0].startswith("interrupted")
    assert process.returncode == 128 + number


def test_what_is_ignored_stays_so(tmp_path):
    """A shell's background job does not end by the Ctrl-C that is meant for another one."""
    command = ["sh", "-c", f"trap '' INT; exec {sys.executable} -m lightline predict --help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPROFILEIMPORTTIME": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        assert process.stderr is not None
        assert any("numpy" in line for line in process.stderr)
        process.send_signal(INT)
        out, _ = process.communicate()
    assert process.returncode == 0
    assert "usage: python -m lightline predict" in out
