"""Champions by `python -m lightline promote`: real models, a bare git repository, a DVC remote and what others get."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import wandb
import yaml

from commands.promote import main
from commands.sign import KEY_VARIABLE
from lightline.runtime.locks import lock
from lightline_predict.provenance import verify
from tests.support.experiments import changed_model, record, with_test_in_train
from tests.support.project import Project
from tests.support.signing import make_key
from tests.support.wandb_file import read_offline_runs

MODEL, SPLITS = "models/model.onnx", "data/splits.parquet"

Registry = Callable[[str], Project]  # `registry("a")`: a clone of the same remote


@pytest.fixture(scope="module")
def published(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone `a` of `remote.git` with a DVC remote, and experiments beside its own model. Tests copy all but that.

    weak: with noise in its last layer. seen, all_seen: the same, with half or all of the test images in its train.
    same: weak's file. equal: with noise that changes no answer. other: of other classes. newer: of a contract that
    nobody knows. untrained: without a model.
    """
    folder = tmp_path_factory.mktemp("published")
    project = Project(shutil.copytree(finished_project.path, folder / "a", symlinks=True))
    project.run("git", "init", "--quiet", "--bare", "--initial-branch=main", "../remote.git")
    project.run("git", "remote", "add", "origin", "../remote.git")
    config = project.path / ".dvc/config"
    remote = f"['remote \"store\"']\n    url = {folder}/store\n"
    config.write_text(config.read_text().replace("[core]\n", "[core]\n    remote = store\n") + remote)
    params = project.path / "params.yaml"  # what a busy machine measures decides nothing here
    params.write_text(params.read_text().replace("max_latency_ratio: 2.0", "max_latency_ratio: null"))
    project.commit("a remote")
    project.run("git", "push", "--quiet", "origin", "main")
    model = project.path / MODEL
    weak = changed_model(model, noise=3.0)
    record(project, "weak", {MODEL: weak})
    record(project, "seen", {MODEL: weak, SPLITS: with_test_in_train(project.path / SPLITS, every=2)})
    record(project, "all_seen", {MODEL: weak, SPLITS: with_test_in_train(project.path / SPLITS, every=1)})
    record(project, "same", {MODEL: weak, SPLITS: with_test_in_train(project.path / SPLITS, every=3)})
    record(project, "equal", {MODEL: changed_model(model, noise=1e-6)})
    record(project, "other", {MODEL: changed_model(model, classes=json.dumps(list(map(str, range(1, 11)))))})
    record(project, "newer", {MODEL: changed_model(model, contract="9")})
    record(project, "untrained", {MODEL: None})
    return folder


@pytest.fixture
def registry(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Gives a clone of the remote, the first one with the experiments, and works in it."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder = shutil.copytree(published, tmp_path / "registry", symlinks=True)

    def give(name: str) -> Project:
        if not (folder / name).exists():
            subprocess.run(("git", "clone", "--quiet", folder / "remote.git", folder / name), check=True)
        monkeypatch.chdir(folder / name)
        return Project(folder / name)

    return give


def verdict() -> dict:
    return json.loads(Path("reports/promotion/verdict.json").read_text())


def refused(*arguments: str) -> str:
    """What the command says as it refuses; no reports and no tags come of it."""
    before = subprocess.run(("git", "for-each-ref"), capture_output=True, check=True).stdout
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert subprocess.run(("git", "for-each-ref"), capture_output=True, check=True).stdout == before
    assert not list(Path("reports/promotion").glob("*"))
    assert isinstance(ended.value.code, str)
    return ended.value.code


def test_a_champion_is_what_another_clone_gets_and_can_be_taken_back(registry: Registry, capsys, monkeypatch):
    one = registry("a")
    private, public = make_key()
    monkeypatch.setenv(KEY_VARIABLE, private.decode())
    assert main(["weak"]) == 3
    assert "HOLD: There is no champion to compare it with. `--first` makes it" in capsys.readouterr().out
    assert one.tags() == []
    assert main(["weak", "--first"]) == 0
    assert main(["HEAD"]) == 0
    told = capsys.readouterr().out
    assert "PROMOTE: The challenger is more accurate: +" in told
    assert "points would be seen four times in five" in told
    number = one.run("git", "rev-parse", "classifier#champion#1^{}").stdout[:12]
    expected = {"classifier@v0.0.1", "classifier@v0.0.2", "classifier#champion#1", "classifier#champion#2"}
    expected |= {f"promotion/classifier/{number}/1", "promotion/classifier/none/1"}
    assert {*one.tags()} == {*one.tags("origin")} == expected
    message = one.run("git", "tag", "--list", "--format=%(contents)", "classifier#champion#2").stdout.strip()
    assert message == sha256(Path("reports/promotion/verdict.json").read_bytes()).hexdigest()
    assert verdict()["test_set"]["left_out"] == 0
    assert verify(Path(MODEL), public, Path("reports/promotion/model.intoto.dsse.json")).fingerprint

    two = registry("b")
    get = ("dvc", "artifacts", "get", "../remote.git", "classifier", "--stage", "champion", "--force", "--out", "got")
    two.run(*get)
    assert (two.path / "got").read_bytes() == (one.path / "models/model.onnx").read_bytes()
    assert main(["rollback"]) == 0
    two.run(*get)
    assert (two.path / "got").read_bytes() != (one.path / "models/model.onnx").read_bytes()
    assert "v0.0.1" in two.run("gto", "show", "classifier#champion").stdout
    main(["status"])
    told = capsys.readouterr().out.splitlines()
    assert told[-4].startswith("champion    v0.0.1")
    assert "rollback from v0.0.2" in told[-4]
    assert "PROMOTE" in told[-3]
    assert refused("rollback").startswith("error: There is no earlier champion than v0.0.1")
    assert main(["rollback", "v0.0.2", "--no-push"]) == 0
    assert "classifier#champion#4" not in two.tags("origin")


def test_what_lies_here_may_be_an_experiment_that_was_just_run(registry: Registry):
    project = registry("a")
    weak = project.run("git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/weak").stdout.strip()
    ran = project.run("git", "show", f"{weak}:dvc.lock").stdout
    (project.path / "dvc.lock").write_text(ran)
    assert main(["--first", "--no-push"]) == 0
    assert project.run("git", "rev-parse", "classifier@v0.0.1^{}").stdout.strip() == weak
    shutil.rmtree("reports/promotion")
    (project.path / "dvc.lock").write_text(f"{ran}# by hand\n")
    assert "neither committed nor an experiment's" in refused("--no-push")


def test_what_the_champion_has_learned_from_is_left_out(registry: Registry):
    registry("a")
    main(["seen", "--first"])
    assert main(["HEAD", "--no-push"]) == 0
    found = verdict()["test_set"]
    assert (found["images"], found["left_out"], found["compared"]) == (269, 135, 134)


def test_an_equal_is_promoted_within_a_margin_alone(registry: Registry, capsys):
    project = registry("a")
    main(["HEAD", "--first", "--no-push"])
    assert main(["equal", "--no-push"]) == 3
    assert "not shown to be more accurate: +0.00 points" in capsys.readouterr().out
    params = project.path / "params.yaml"
    params.write_text(params.read_text().replace("margin: 0.0", "margin: 0.03"))
    assert main(["equal", "--no-push"]) == 0
    assert "less than 0.03 (promote.margin) below the champion's accuracy" in capsys.readouterr().out


def test_the_champions_own_file_is_no_try(registry: Registry, capsys):
    project = registry("a")
    main(["weak", "--first", "--no-push"])
    before = project.tags()
    assert main(["same", "--no-push"]) == 3
    assert (
        capsys.readouterr().out.count("HOLD: The model is the champion's own file: there is nothing to compare.") == 1
    )
    assert project.tags() == before
    assert "# HOLD: the champion v0.0.1" in Path("reports/promotion/verdict.md").read_text()


def test_comparisons_are_counted_and_the_same_one_is_no_new_try(registry: Registry, capsys):
    registry("a")
    main(["HEAD", "--first"])
    assert main(["weak"]) == 4
    assert "REJECT: The challenger is less accurate" in capsys.readouterr().out
    assert (verdict()["comparison"]["number"], verdict()["comparison"]["alpha"]) == (1, 0.025)
    assert main(["weak"]) == 4
    assert verdict()["comparison"]["number"] == 1
    assert main(["seen"]) == 4  # tried on a part of the same images
    assert (verdict()["comparison"]["number"], verdict()["comparison"]["alpha"]) == (1, 0.025)  # it is the same file


def test_a_promoter_that_is_not_the_first_is_refused(registry: Registry):
    one, two = registry("a"), registry("b")
    two.run("git", "fetch", "--quiet", "../a", "refs/exps/*:refs/exps/*")
    two.run("dvc", "cache", "dir", "--local", "../a/.dvc/cache")
    hook = two.path / ".git/hooks/pre-push"  # another one is faster, by a moment
    hook.write_text(f"#!/bin/sh\ncd {one.path} && exec {sys.executable} -m lightline promote HEAD --first\n")
    hook.chmod(0o755)
    before = two.tags()
    assert refused("weak", "--first").startswith("error: Another promotion was first: origin has tags of these names")
    assert two.tags() == before == []
    assert {*one.tags()} == {*one.tags("origin")}
    with (two.path / ".dvc/tmp/promotion.lock").open("a") as file:
        lock(file)
        assert refused("weak").startswith("error: Another promotion is going on in this folder")
    hook.unlink()
    assert main(["weak"]) == 4  # by the tags that it has fetched


@pytest.mark.parametrize(
    ("champion", "arguments", "told"),
    [
        ("HEAD", ["HEAD"], " is the champion, v0.0.1"),
        ("HEAD", ["weak", "--first"], "leave --first out"),
        ("other", ["HEAD"], "alone has 10; "),
        ("all_seen", ["HEAD"], "All 269 test images of "),
        (None, ["newer"], "error: The model of newer is of contract 9"),
        (None, ["nobody"], "error: There is no experiment or commit 'nobody' here"),
        (None, ["untrained"], "error: models/model.onnx of untrained cannot be read here"),
        (None, ["rollback"], "error: There is no champion to go back from"),
    ],
)
def test_what_cannot_be_compared_is_told(registry: Registry, champion: str | None, arguments: list[str], told: str):
    project = registry("a")
    if champion:
        main([champion, "--first", "--no-push"])
        shutil.rmtree("reports/promotion")
    assert told in refused(*arguments, "--no-push")
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_a_champion_whose_files_are_nowhere_is_told(registry: Registry):
    project = registry("a")
    main(["weak", "--first", "--no-push"])
    shutil.rmtree("reports/promotion")
    recorded = yaml.safe_load(project.run("git", "show", "classifier@v0.0.1:dvc.lock").stdout)
    (digest,) = (out["md5"] for out in recorded["stages"]["export"]["outs"] if out["path"] == MODEL)
    Path(".dvc/cache/files/md5", digest[:2], digest[2:]).unlink()
    Path(".dvc/config.local").write_text("[core]\n    remote = empty\n['remote \"empty\"']\n    url = empty\n")
    told = refused("HEAD", "--no-push")
    assert "models/model.onnx of the champion v0.0.1" in told
    assert "`dvc push --all-tags` sends it there" in told


def test_wandb_has_the_alias_where_tracking_is_on(registry: Registry, monkeypatch: pytest.MonkeyPatch):
    project = registry("a")
    monkeypatch.setenv("WANDB_MODE", "offline")
    main(["HEAD", "--first", "--no-push"])
    wandb.teardown()
    assert read_offline_runs(project.path)[-1].artifacts == [
        ("model", ["champion", "latest"], ["MODEL_CARD.md", "model.onnx"])
    ]


def test_a_first_one_in_the_place_of_another_is_no_comparison(registry: Registry, capsys):
    registry("a")
    main(["weak", "--first", "--no-push"])
    main(["other", "--first", "--no-push"])
    assert main(["rollback", "--no-push"]) == 0
    assert main(["status"]) == 0
    assert main(["HEAD", "--no-push"]) == 0
    told = capsys.readouterr().out
    assert "champion    v0.0.1" in told
    assert "PROMOTE: The challenger is more accurate" in told


def test_what_git_prunes_is_not_what_was_promoted_here_alone(registry: Registry, capsys):
    project = registry("a")
    main(["weak", "--first", "--no-push"])
    for key in ("fetch.prune", "fetch.pruneTags", "remote.origin.prune"):
        project.run("git", "config", key, "true")
    assert main(["HEAD"]) == 0
    assert "PROMOTE: The challenger is more accurate" in capsys.readouterr().out
    assert "classifier#champion#1" in project.tags()
