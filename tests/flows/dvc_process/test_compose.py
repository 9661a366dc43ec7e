"""The parameters of a run: composed from conf/, wrong ones told in sentences."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from flows.dvc_process.compose import compose
from flows.dvc_process.session import Session
from flows.errors import RequestError
from lightline.errors import LightlineError, ParameterError
from tests.support import ROOT
from tests.support.project import MAX_EPOCHS


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    for folder in ("conf", ".dvc"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def test_writes_what_conf_composes_to():
    assert compose([]) == ([], [])
    changed, left = compose(["model=resnet18", "trainer.max_epochs=3"])
    assert left == []
    assert changed == [
        ("model.name", "cnn", "resnet18"),
        ("trainer.max_epochs", MAX_EPOCHS, 3),
        ("model.stem", None, "auto"),
    ]
    assert yaml.safe_load(Path("params.yaml").read_text())["model"]["name"] == "resnet18"


@pytest.mark.parametrize("overrides", [[], ["model=resnet18"], ["recipe=fast_cifar_one_epoch"]])
def test_values_of_params_yaml_that_conf_does_not_have_are_left_behind(overrides):
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["seed"], values["model"]["crop_pct"], values["data"]["path"] = 5, 0.9, "photos"
    Path("params.yaml").write_text(yaml.safe_dump(values))
    left = [("data.path", "photos", None), ("model.crop_pct", 0.9, 1.0), ("seed", 5, 42)]
    assert compose(overrides)[1] == [
        change for change in left if not (overrides == ["model=resnet18"] and change[2] == 1.0)
    ]


def test_a_choice_that_is_not_committed_is_called_so(tmp_path, monkeypatch):
    origin = tmp_path.parent / f"{tmp_path.name}-origin"
    shutil.copytree(tmp_path / "conf", origin / "conf")
    (origin / "conf/model/mine.yaml").write_text("defaults: [cnn]\n")
    monkeypatch.setenv("LIGHTLINE_ORIGIN", str(origin))
    with pytest.raises(RequestError, match=r"conf/model/mine\.yaml is not in the commit of this run.*git add") as error:
        compose(["model=mine"])
    assert "is not allowed" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.max_epoch=3", "trainer.max_epoch = 3 is not a parameter; did you mean trainer.max_epochs?"),
        ("modle=resnet18", "modle = 'resnet18' is not a parameter; did you mean model?"),
        ("+typo=1", "typo = 1 is not a parameter"),
        ("optimizer.lr=abc", "optimizer.lr = 'abc' is not allowed"),
        ("seed=-3", "seed = -3 is not allowed"),
        ("~model", "model is missing"),
        ("+optimizer._target_=os.system", "optimizer._target_ = 'os.system' is not a parameter"),
    ],
)
def test_a_parameter_that_cannot_be_used(override, message):
    with pytest.raises(ParameterError) as error:
        compose(["evaluate.confidence=0.9", override])
    assert str(error.value).startswith(f"{override!r} cannot be used; conf/ is as it should be:\n")
    assert message in str(error.value)


def test_a_value_in_conf_that_cannot_be_used(tmp_path):
    config = tmp_path / "conf/config.yaml"
    config.write_text(config.read_text().replace("seed: 42", "seed: -3"))
    with pytest.raises(ParameterError, match=r"^params.yaml holds 1 parameter(.|\n)*Edit conf/"):
        compose(["trainer.max_epochs=3"])


def test_nothing_is_run_and_nothing_is_written_elsewhere(tmp_path):
    elsewhere, before = tmp_path.parent / "elsewhere", set(tmp_path.rglob("*"))
    assert compose([f"hydra.run.dir={elsewhere}", "hydra.job.chdir=true"]) == ([], [])
    touch = f"{{_target_: pathlib.Path.touch, _args_: [{elsewhere}]}}"
    for override in (f"model={touch}", f"+extra={touch}", f"+hydra.callbacks.x={touch}"):
        with suppress(LightlineError):
            compose([override])
    assert not elsewhere.exists()
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model=resnet99",
            "model = 'resnet99' is not allowed; conf/model/ has airbench, airbench_medium, airbench_narrow, cnn, ",
        ),
        ("optimizer.lr", "'optimizer.lr' cannot be used as an override"),
        ("a b", "'a b' cannot be used as an override"),
        ("optimizer.betas=[1", "'optimizer.betas=[1' cannot be used as an override"),
        ("model.name=${nowhere}", "Interpolation key 'nowhere' not found"),
        ("optimizer.lr=choice(1,2)", "asks for several values, and a flow run takes one"),
        ("model=cnn,resnet18", "asks for several values, and a flow run takes one"),
    ],
)
def test_an_override_that_cannot_be_used(override, message):
    with pytest.raises(RequestError) as error:
        compose(["trainer.max_epochs=3", override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_commit_from_before_the_rooms_is_refused_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "lightline").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=r"older than this flow .* `git worktree add FOLDER COMMIT`"):
        Session().compose([])
