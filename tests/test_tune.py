"""Finding a learning rate and a batch size, as a command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.tiny import ROOT, tiny_params, tiny_task


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tune(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "lightline.tune", *arguments)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def prepare() -> None:
    params = tiny_params()
    Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    tiny_task(params)


def test_a_learning_rate_with_its_curve_and_where_it_goes():
    prepare()
    result = tune("lr_find", "--steps", "60")
    assert result.returncode == 0, result.stderr
    lr = yaml.safe_load(result.stdout.split("conf/optimizer/adam.yaml:")[1].splitlines()[1])["lr"]
    assert 1e-6 < float(lr) < 10
    assert f"dvc exp run -S optimizer.lr={lr}" in result.stdout
    with Image.open("reports/tune/lr_find.png") as picture:
        assert len(picture.convert("L").getcolors() or ()) > 10  # something is drawn
    assert not Path("models").exists()


def test_a_batch_size():
    prepare()
    result = tune("batch_size")
    assert result.returncode == 0, result.stderr
    assert "conf/trainer/default.yaml:\n  batch_size: 6" in result.stdout  # the 64 train images, or all of them


def test_without_data_it_says_what_to_run():
    Path("params.yaml").write_text(yaml.safe_dump(tiny_params().model_dump(mode="json")))
    result = tune("lr_find")
    assert result.returncode == 1
    assert "`dvc repro download`" in result.stderr
    assert "Traceback" not in result.stderr
