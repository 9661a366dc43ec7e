"""What a stage does around its work, seen from outside."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny import ROOT


def start(code: str) -> subprocess.Popen[str]:
    script = f"from lightline.runtime.stage import run_stage\n{code}\nrun_stage(main)"
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(code: str) -> tuple[int, str, str]:
    with start(code) as process:
        out, err = process.communicate()
    return process.returncode, out, err


def test_the_work_gets_checked_parameters_and_its_output_arrives():
    assert run("def main(params): print(params.trainer.batch_size, end='')") == (0, "64", "")


def test_what_a_library_left_for_the_exit_is_done():
    status, out, _ = run("import atexit\ndef main(params): atexit.register(print, 'done')")
    assert (status, out) == (0, "done\n")


@pytest.mark.parametrize(("error", "expected"), [("DataError('no such folder')", 1), ("Busy('not reachable')", 75)])
def test_an_error_for_a_person_is_a_message_and_a_status(error: str, expected: int):
    status, _, err = run(
        "from lightline.errors import DataError\nclass Busy(DataError):\n    may_pass = True\n"
        f"def main(params): raise {error}"
    )
    assert status == expected
    assert err.startswith("error: no")
    assert "Traceback" not in err


def test_a_gpu_without_enough_memory_is_a_message():
    status, _, err = run(
        "import torch\ndef main(params): raise torch.OutOfMemoryError('CUDA out of memory. Tried 2 GiB.\\nSee docs')"
    )
    assert status == 1
    assert err.startswith("error: CUDA out of memory. Tried 2 GiB.\nThe GPU has too little memory for this.")
    assert "Traceback" not in err


def test_a_bug_keeps_its_traceback():
    status, _, err = run("def main(params): 1 / 0")
    assert status == 1
    assert "ZeroDivisionError" in err


def test_a_bug_in_extensions_begins_with_its_line(own_folder: Path):
    (own_folder / "extensions/callbacks").mkdir(parents=True)
    (own_folder / "extensions/__init__.py").touch()
    (own_folder / "extensions/callbacks/mine.py").write_text("def hook(number):\n    return 1 / number\n")
    shutil.copy(ROOT / "params.yaml", own_folder)
    code = (
        "from lightline.runtime.stage import run_stage\n"
        "def main(params):\n    from extensions.callbacks.mine import hook\n    hook(0)\nrun_stage(main)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    place = "extensions/callbacks/mine.py:2, in hook"
    assert lines[0] == f"error: {place}: ZeroDivisionError: division by zero. This is the way there:"
    assert lines[1] == "Traceback (most recent call last):"
    assert "    return 1 / number" in lines
    assert done.returncode == 1


@pytest.mark.parametrize("error", ["ValueError", "DataError"])
def test_neither_a_message_nor_a_traceback_shows_a_key(error: str):
    key = os.environ["SERVICE_SECRET"]
    status, out, err = run(
        "from lightline.errors import DataError\nimport os\n"
        "told = 'https://me:hunter22@host/a?token=s3cret and ' + os.environ['SERVICE_SECRET']\n"
        f"def main(params): raise {error}(told)"
    )
    assert (status, out) == (1, "")
    assert "https://host/a?… and …" in err
    assert key not in err
    assert not {"hunter22", "s3cret"} & set(err.splitlines()[-1].split())


def test_nor_while_wandb_has_its_own_hook(tmp_path: Path):
    status, _, err = run(
        "import wandb\ndef main(params):\n"
        f"    wandb.init(mode='offline', dir={str(tmp_path)!r})\n    raise ValueError('https://me:hunter22@host/')"
    )
    assert status == 1
    assert err.count("Traceback") == 1
    assert "hunter22" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_no_traceback(number: signal.Signals):
    with start("def main(params):\n    print('up', flush=True)\n    import time; time.sleep(60)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "interrupted; the same command goes on from what is finished\n")


def test_wrong_parameters_stop_before_the_work(tmp_path: Path):
    text = (ROOT / "params.yaml").read_text().replace("seed: 42", "seed: -1")
    (tmp_path / "params.yaml").write_text(text)
    code = "from lightline.runtime.stage import run_stage\nrun_stage(lambda params: print('worked'))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert "seed = -1" in result.stderr
