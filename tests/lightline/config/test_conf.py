"""What conf/ has to choose from, composed as DVC does it."""

from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from lightline.config.load import load_params
from tests.support import ROOT
from tests.support.params import (
    VALUES,
)

CONF = ROOT / "conf"


GROUPS = sorted(path for path in CONF.glob("*/*.yaml") if path.parent.name not in ("recipe", "debug"))


CHOICES = [f"{path.parent.name}={path.stem}" for path in GROUPS]


def compose(folder: Path, *overrides: str) -> Path:
    """params.yaml as `dvc exp run` writes it."""
    path = folder / "params.yaml"
    compose_and_dump(path, str(CONF), None, "config", str(ROOT), list(overrides))
    return path


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_in_conf_is_right(choice, tmp_path):
    params = load_params(compose(tmp_path, choice))
    group, name = choice.split("=")
    chosen = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    found = params.model_dump(mode="json")[group]
    assert {key: found[key] for key in chosen if key != "defaults"} == {
        key: value for key, value in chosen.items() if key != "defaults"
    }


@pytest.mark.parametrize("recipe", sorted(file.stem for file in (CONF / "recipe").glob("*.yaml")))
def test_every_recipe_can_be_debugged_and_its_choices_stay(recipe, tmp_path):
    plain, fast, overfit, profile = (
        load_params(compose(tmp_path, f"recipe={recipe}", f"debug={debug}"))
        for debug in ("none", "fast", "overfit", "profile")
    )
    assert plain == load_params(compose(tmp_path, f"recipe={recipe}"))
    assert plain.optimizer == fast.optimizer == overfit.optimizer == profile.optimizer
    assert fast.trainer.fast_dev_run
    assert (overfit.trainer.overfit_batches, profile.hardware.profiler) == (2, "simple")
    assert overfit.augment == load_params(compose(tmp_path, "augment=none")).augment


@pytest.mark.parametrize("recipe", sorted(file.stem for file in (CONF / "recipe").glob("*.yaml")))
def test_a_recipe_chooses_and_gives_way_to_the_command_line(recipe, tmp_path):
    plain = load_params(compose(tmp_path, f"recipe={recipe}"))
    assert (plain == load_params(compose(tmp_path))) == (recipe == "none")
    changed = load_params(compose(tmp_path, f"recipe={recipe}", "model=cnn", "trainer.max_epochs=77"))
    assert (changed.model.name, changed.trainer.max_epochs) == ("cnn", 77)
    assert changed.optimizer == plain.optimizer


def test_every_group_has_a_choice_that_was_seen():
    assert {choice.split("=")[0] for choice in CHOICES} == set(VALUES) - {"seed"}
    assert len(CHOICES) > 30


@pytest.mark.parametrize("text", ["1e-3", "1e-08", "0.00001", "3"])
def test_numbers_survive_the_way_from_an_override_to_the_stage(text, tmp_path):
    params = load_params(compose(tmp_path, f"optimizer.lr={text}"))
    assert params.optimizer.lr == float(text)
