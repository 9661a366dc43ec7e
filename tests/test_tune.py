"""Finding a learning rate and a batch size, as a command."""

import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lightline.composition import composed_text
from lightline.tune import _advise
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


def test_printed_commands_lose_nothing_that_conf_does_not_have(folder: None):
    shutil.copytree(ROOT / "conf", "conf")

    def advised(*overrides: str) -> str:
        Path("params.yaml").write_text(composed_text(overrides))
        with redirect_stdout(io.StringIO()) as printed:
            _advise("optimizer", "adam", "lr", 0.003)
        return printed.getvalue()

    assert advised() == (
        "Put into conf/optimizer/adam.yaml:\n  lr: 0.003\nor try it first: dvc exp run -S optimizer.lr=0.003\n"
    )
    told = advised("data=folder", "data.path='my photos'", "optimizer.lr=0.01")
    assert "Put into" not in told
    assert "dvc exp run -S data=folder -S 'data.path=\"my photos\"' -S optimizer.lr=0.003\n" in told
    # Where a recipe is chosen that sets it, a value in the group's file would be without effect.
    config = Path("conf/config.yaml")
    config.write_text(config.read_text().replace("recipe: none", "recipe: fine_tune"))
    assert "Put into conf/recipe/fine_tune.yaml:\n  lr: 0.003\n" in advised()
