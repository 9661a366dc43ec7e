"""Finding a learning rate and a batch size, as a command."""

import io
import math
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from commands.tune import _advise, main
from commands.tuning import learning_rate
from commands.tuning.batch_size import find_batch_size
from commands.tuning.learning_rate import Sweep, find_lr
from commands.tuning.trial import prepare_trial, take_steps
from lightline.config.composition import composed_text
from lightline.data.dataset import Dataset
from lightline.data.splits import write_splits
from lightline.errors import DataError, LightlineError
from stages.train.module import Classifier
from tests.support.tiny import CLASSES, MUON, NUM_IMAGES, ROOT, tiny_params, tiny_task

pytestmark = pytest.mark.usefixtures("own_folder")


def tune(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "lightline", "tune", *arguments)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def prepare() -> None:
    params = tiny_params()
    Path("params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    tiny_task(params)


def test_a_learning_rate_with_its_curve_and_where_it_goes():
    prepare()
    result = tune("lr_find", "--steps", "150")
    assert result.returncode == 0, result.stderr
    lr = yaml.safe_load(result.stdout.split("conf/optimizer/adam.yaml:")[1].splitlines()[1])["lr"]
    assert 1e-4 < float(lr) < 1
    assert "150 steps, as many as in 38 epochs" in result.stdout  # told before they are taken, since it may take long
    assert f"dvc exp run -S optimizer.lr={lr}" in result.stdout
    with Image.open("reports/tune/lr_find.png") as picture:
        assert len(picture.convert("L").getcolors() or ()) > 10  # something is drawn
    assert not Path("models").exists()


@pytest.mark.parametrize("changes", [{}, {"loss__reduction": "sum"}, {"trainer__accumulate_grad_batches": 2}], ids=str)
def test_the_curve_is_the_mean_loss_of_each_step_s_images_at_its_rate(changes):
    params = tiny_params(trainer__precision="32-true", **changes)
    tiny_task(params)
    sweep = Sweep(np.geomspace(1e-9, 1e-8, 10))  # nothing is learnt
    trial = prepare_trial(params)
    take_steps(*trial, 10, [sweep])
    assert len(sweep.losses) == 10
    assert sweep.losses == pytest.approx([math.log(len(CLASSES))] * 10, rel=0.05)


def test_every_rate_is_raised_in_proportion_and_advised():
    params = tiny_params(optimizer=MUON)
    tiny_task(params)
    rates = find_lr(params, 100)
    assert rates.keys() == {"lr", "adamw_lr"}
    assert rates["lr"] / rates["adamw_lr"] == pytest.approx(MUON["lr"] / MUON["adamw_lr"], rel=0.1)


@pytest.mark.parametrize("steps", ["0", "1", "-5", "1.5", "1e3", "many", "", "99999999999999999999"])
def test_steps_that_cannot_be_taken_are_refused_in_a_sentence(steps, capsys):
    with pytest.raises(SystemExit):
        main(["lr_find", f"--steps={steps}"])
    assert f"{steps!r} is not allowed; a whole number from 50 to 10,000 is" in capsys.readouterr().err


def test_the_batch_sizes_that_were_tried_are_a_tenth_of_the_images_at_most(monkeypatch):
    taken = []
    original = Classifier.training_step

    def noted(module, batch, batch_idx):
        taken.append(len(batch.images))
        return original(module, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", noted)
    params = tiny_params()
    task = tiny_task(params)
    assert len(task.splits.rows("train")) == 63
    assert find_batch_size(params) == [2, 4]
    assert taken == [2, 2, 4, 4]


def test_too_few_images_for_any_batch_are_said():
    params = tiny_params()
    tiny_task(params)
    few = np.zeros(NUM_IMAGES, np.int8)
    few[15:] = 1
    dataset = Dataset()
    write_splits(dataset.column("id"), dataset.labels, few)
    with pytest.raises(DataError, match="15 training images"):
        find_batch_size(params)


def test_without_data_it_says_what_to_run():
    Path("params.yaml").write_text(yaml.safe_dump(tiny_params().model_dump(mode="json")))
    result = tune("lr_find")
    assert result.returncode == 1
    assert "`dvc repro download`" in result.stderr
    assert "Traceback" not in result.stderr


def test_printed_commands_lose_nothing_that_conf_does_not_have():
    shutil.copytree(ROOT / "conf", "conf")

    def advised(*overrides: str) -> str:
        Path("params.yaml").write_text(composed_text(overrides))
        with redirect_stdout(io.StringIO()) as printed:
            _advise("optimizer", "adam", {"lr": 0.003})
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


def test_a_first_loss_that_is_no_number_is_told(monkeypatch):
    monkeypatch.setattr(learning_rate, "prepare_trial", lambda params: (None, None, None))
    monkeypatch.setattr(learning_rate, "steps_per_epoch", lambda *_: 1)
    monkeypatch.setattr(learning_rate, "take_steps", lambda *given: given[-1][0].losses.append(math.nan))
    with pytest.raises(LightlineError, match="no question of the learning rate"):
        find_lr(tiny_params(), 10)
