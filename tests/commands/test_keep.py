"""An experiment becomes a recipe in conf/; a run says which values it leaves behind; commands that say all."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from commands.keep import KeepError, Kept, find, keep
from lightline.config.composition import compose, composed_text, overrides_for
from lightline.errors import LightlineError, ParameterError
from tests.support import ROOT
from tests.support.photo_folder import make_folder
from tests.support.project import Project, copy_project

PHOTOS = ["data=folder", "data.path=photos"]
AWKWARD = [
    ["data=folder", "data.path='it\\'s, [a] {b}: \"c\" ~/é#'", "optimizer.lr=1e-5", "split=group", "seed=5"],
    ["recipe=fine_tune", "data=folder", "data.path='1e-3'", "export.intended_use='null'", "export.limits='\\${seed}'"],
    ["data=cifar10", f"data.checksums={{a.tar.gz:'{'0' * 32}'}}", "augment.low_resolution=[{size:16,epochs:3}]"],
    ["export=int8", "hardware.devices=[0,1]", "optimizer.betas=[0.8,0.99]", "trainer.ema_decay=null"],
]


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a conf/ of its own and what it composes to."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "conf"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("overrides", AWKWARD, ids=lambda overrides: " ".join(overrides)[:20])
def test_a_recipe_gives_the_values_of_an_experiment_and_overrides_do(conf: Path, overrides: list[str]):
    text = composed_text(overrides)
    found = overrides_for(yaml.safe_load(text))
    assert len(found) <= len(overrides)
    assert composed_text(shlex.split(shlex.join(found))) == text

    told = keep(Kept("experiment mine (commit 0123)", "mine", text), None, choose=True)
    assert "conf/recipe/mine.yaml now has the parameters of experiment mine (commit 0123)" in told
    assert Path("params.yaml").read_text() == text == composed_text()
    assert (
        (conf / "recipe/mine.yaml").read_text().startswith("# @package _global_\n# The parameters of experiment mine")
    )
    assert overrides_for(yaml.safe_load(text)) == []
    assert compose(["seed=1"])["seed"] == 1  # what is given on the command line wins
    assert "there is nothing to keep" in keep(Kept("the same", "mine", text), None, choose=True)


def test_a_path_of_this_machine_in_a_recipe_is_told(conf: Path):
    text = composed_text(["data=folder", "data.path=/home/me/photos", "model.weights=/home/me/weights.pth"])
    told = keep(Kept("x", "mine", text), None, choose=True)
    for path in ("data.path = '/home/me/photos'", "model.weights = '/home/me/weights.pth'"):
        assert f" {path} is of this machine alone." in told


def test_a_recipe_is_minimal_and_readable(conf: Path):
    values = ["split=group", "model=resnet18", "model.input_size=64", *PHOTOS, "optimizer.lr=0.01"]
    keep(Kept("x", "mine", composed_text(values)), None, choose=False)
    assert (conf / "recipe/mine.yaml").read_text().partition("defaults")[2] == (
        ":\n  - override /data: folder\n  - override /split: group\n  - override /model: resnet18\n\n"
        "data:\n  path: photos\nmodel:\n  input_size: 64\noptimizer:\n  lr: 0.01\n"
    )


def test_a_recipe_that_is_there_is_chosen_and_one_with_other_content_is_left(conf: Path):
    text = composed_text(["recipe=fast_cifar"])
    assert "conf/recipe/fast_cifar.yaml has" in keep(Kept("x", "mine", text), None, choose=True)
    assert "- recipe: fast_cifar #" in (conf / "config.yaml").read_text()
    assert not (conf / "recipe/mine.yaml").exists()
    # From a recipe back to none, and from one recipe to another.
    keep(Kept("x", "mine", composed_text(["recipe=none"])), None, choose=True)
    assert "- recipe: none #" in (conf / "config.yaml").read_text()
    before = contents(conf)
    with pytest.raises(KeepError, match=r"fine_tune\.yaml already, with other content"):
        keep(Kept("x", "mine", composed_text(PHOTOS)), "fine_tune", choose=True)
    assert contents(conf) == before


@pytest.mark.parametrize("name", ["../up", "on", "12", "a b", "a:b", "-x"])
def test_a_name_that_no_recipe_can_have(conf: Path, name: str):
    before = contents(conf)
    with pytest.raises(LightlineError, match="cannot name a recipe"):
        keep(Kept("x", None, composed_text(["seed=5"])), name, choose=True)
    assert contents(conf) == before


def test_where_conf_cannot_give_the_values_nothing_is_changed(conf: Path):
    values = yaml.safe_load(composed_text(["seed=5"]))
    del values["trainer"]["compile"]  # as of an experiment from before that setting
    before = contents(conf.parent)
    with pytest.raises(KeepError, match=r"another version of conf/.*trainer\.compile = False"):
        keep(Kept("experiment old", "old", yaml.safe_dump(values)), None, choose=True)
    assert contents(conf.parent) == before


_SMALL = """
stages:
  source:
    cmd: python -m stages.source
    always_changed: true
    params: [data]
    outs: [data/source.json]
  train:
    cmd: cp params.yaml model
    deps: [data/source.json]
    params: [optimizer]
    outs: [model]
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project on whose photos an experiment `mine` was made, by DVC; its stages take no time."""
    project = copy_project(tmp_path_factory.mktemp("keep") / "project")
    (project.path / "dvc.yaml").write_text(_SMALL)
    (project.path / "dvc.lock").unlink()
    with (project.path / ".gitignore").open("a") as file:
        file.write("/photos\n/model\n")
    make_folder(project.path / "photos", per_class=1)
    project.commit("small")
    run(project, "mine", *PHOTOS, "optimizer.lr=0.01")
    return project


def run(project: Project, name: str, *overrides: str) -> str:
    """What `dvc exp run` prints as warnings."""
    done = project.run("dvc", "exp", "run", "--force", "--name", name, *(f"-S{override}" for override in overrides))
    return "".join(line for line in (done.stdout + done.stderr).splitlines(True) if line.startswith("warning"))


def test_a_run_says_which_values_it_leaves_behind_until_they_are_kept(photos: Project):
    assert run(photos, "plain", "seed=1") == ""  # after a run on the photos: an experiment starts from conf/
    photos.run("dvc", "exp", "apply", "mine")
    applied = run(photos, "applied", "seed=2")
    assert "data.source = 'folder' (now 'digits')" in applied
    assert "data.path = 'photos' (now none)" in applied
    assert "optimizer.lr = 0.01 (now 0.001)" in applied
    assert "`make keep EXP=mine`" in applied

    photos.run("dvc", "exp", "apply", "mine")
    photos.commit("mine")
    committed = run(photos, "committed", "optimizer.lr=0.01")
    assert "data.path = 'photos' (now none)" in committed
    assert "optimizer.lr" not in committed  # it was asked for
    assert "`make keep EXP=HEAD`" in committed
    photos.run("git", "checkout", "--", ".")
    repro = photos.run("dvc", "repro", "--force")
    assert "warning" not in repro.stdout + repro.stderr

    keeping = photos.run("make", "-o", ".venv/installed", "keep", "EXP=HEAD", "AS=mine").stdout
    assert "conf/recipe/mine.yaml now has" in keeping
    assert photos.run("git", "status", "--porcelain").stdout == " M conf/config.yaml\n?? conf/recipe/mine.yaml\n"
    assert run(photos, "kept", "seed=5") == ""
    values = yaml.safe_load((photos.path / "params.yaml").read_text())
    assert (values["data"]["path"], values["optimizer"]["lr"], values["seed"]) == ("photos", 0.01, 5)

    photos.run("git", "checkout", "--quiet", "params.yaml")
    photos.commit("kept")
    photos.run("dvc", "exp", "apply", "mine")
    older = run(photos, "older", "seed=6")
    assert "conf/ is not this commit's: `dvc exp apply` brought it back as it was when experiment mine" in older
    assert "data.path = 'photos' (now none)" in older
    assert "seed" not in older  # it was asked for
    assert "`make keep" not in older  # this commit has done so
    photos.run("git", "checkout", "HEAD", "--", "conf")
    assert run(photos, "newer", "optimizer.lr=0.02") == ""


def test_what_to_keep_is_found(photos: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(photos.path)
    photos.run("git", "checkout", "--quiet", ".")
    photos.run("dvc", "exp", "apply", "mine")
    commit = photos.run("git", "rev-parse", "HEAD").stdout[:12]
    assert find("mine").name == "mine"
    assert find("mine").values["data"]["path"] == "photos"
    assert find("HEAD").name is None
    assert find("HEAD").origin == f"commit {commit}"
    assert find(None).name == "mine"  # applied last
    params = photos.path / "params.yaml"
    params.write_text(params.read_text().replace("seed: 42", "seed: 43"))
    assert find(None).origin == f"the workspace on commit {commit}"
    for wrong in ("nowhere", "-x", "HEAD:params.yaml"):
        with pytest.raises(LightlineError, match=f"There is no experiment or commit '{wrong}' here"):
            find(wrong)
    params.write_text("trainer: {}")
    with pytest.raises(ParameterError):
        find(None)


def test_commands_for_what_cannot_be_composed(conf: Path):
    values = compose()
    del values["trainer"]["compile"]
    with pytest.raises(LightlineError, match="different versions"):
        overrides_for(values)
