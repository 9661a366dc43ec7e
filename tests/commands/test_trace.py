"""Where files come from, in a real repository with runs, an experiment and a champion."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from PIL import Image

from commands.trace import main
from commands.tracing.verification import agrees
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline.files import content_digest
from lightline_predict import images
from tests.support.project import Project
from tests.support.samples import random_pixels

EXPERIMENT = "other-opset"


@pytest.fixture(scope="module")
def traced(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project and an experiment beside it, which exported the same network otherwise."""
    project = Project(shutil.copytree(finished_project.path, tmp_path_factory.mktemp("traced") / "p", symlinks=True))
    asked = ("-S", "export.opset=21", "-S", "export.latency=false")
    project.run("dvc", "exp", "run", "--name", EXPERIMENT, *asked)
    shutil.copy(project.path / "models/model.onnx", project.path.parent / "experiment.onnx")
    project.run("git", "checkout", "--quiet", ".")
    project.run("dvc", "checkout", "--quiet")
    return project


@pytest.fixture
def here(traced: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The same, as the working directory. Tests only read it."""
    monkeypatch.chdir(traced.path)
    return traced


@pytest.fixture
def changed(traced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, to be changed, as the working directory."""
    shutil.copytree(traced.path, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture
def trace(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command: gives its status and what it printed, JSON read."""

    def give(file: Path | str, *options: str) -> tuple[int, Any]:
        status = main([str(file), *options])
        told = capsys.readouterr().out
        return status, json.loads(told) if "--json" in options else told

    return give


def head(project: Project) -> str:
    return project.run("git", "rev-parse", "HEAD").stdout.strip()


def test_the_model_leads_to_commit_data_split_and_runs(here, trace):
    known = json.loads(Path("reports/train/fingerprint.json").read_text())
    status, found = trace("models/model.onnx", "--json")
    assert status == 0
    assert (found["file"]["kind"], found["file"]["recorded_as"]) == ("model file", "models/model.onnx")
    assert found["fingerprint"] == known["fingerprint"]
    assert (found["run"]["commit"], found["run"]["subject"]) == (head(here), "two epochs")
    assert found["parameters"] == {"compared_with": head(here), "differing": []}
    data, split = found["data"], found["split"]
    assert (data["source"], data["dataset"], data["images"]) == ("digits", known["dataset"], 1797)
    assert (split["strategy"], split["splits"]) == ("stratified", known["splits"])
    assert split["train"] == len(read_splits().rows("train"))
    assert found["runs"]["wandb"]["folders"]
    assert found["promotion"] == {"versions": [], "stages": [], "verdicts": []}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("models/checkpoints/best.ckpt", "checkpoint"),
        ("models/MODEL_CARD.md", "model card"),
        ("models/model.intoto.json", "statement"),
        ("reports/report.html", "page"),
        ("reports/test/predictions.parquet", "file"),
        ("reports/test/mistakes.png", "file"),
        ("data/dataset/index.parquet", "file"),
    ],
)
def test_any_output_leads_there_whatever_it_is_called_by_now(path, kind, here, trace, tmp_path):
    copy = shutil.copy(path, tmp_path / f"copy{Path(path).suffix}")
    _, found = trace(copy, "--json")
    assert (found["file"]["kind"], found["file"]["recorded_as"]) == (kind, path)
    assert found["run"]["commit"] == head(here)
    assert found["fingerprint"] == json.loads(Path("reports/train/fingerprint.json").read_text())["fingerprint"]


def test_an_experiment_s_file_leads_to_the_experiment_and_what_it_changed(here, trace):
    _, found = trace(here.path.parent / "experiment.onnx", "--json")
    assert found["run"]["experiment"] == EXPERIMENT
    differing = {one["name"]: (one["there"], one["here"]) for one in found["parameters"]["differing"]}
    assert differing == {"export.opset": (20, 21), "export.latency": (True, False)}
    assert found["parameters"]["compared_with"] == head(here)
    _, told = trace(here.path.parent / "experiment.onnx")
    assert "export.opset = 21, there 20" in told
    assert f"experiment {EXPERIMENT}, commit {found['run']['commit'][:12]}" in told
    assert found["fingerprint"] in told


def test_another_file_of_a_known_model_is_told_by_what_is_inside(here, trace, tmp_path):
    model = onnx.load("models/model.onnx")
    model.producer_name = "somebody"
    onnx.save(model, tmp_path / "again.onnx")
    _, found = trace(tmp_path / "again.onnx", "--json")
    assert found["file"]["recorded_as"] is None
    assert found["run"]["commit"] == head(here)
    assert "another file of the same model" in trace(tmp_path / "again.onnx")[1]


def test_a_file_of_an_older_commit_is_found_in_what_came_before(changed, trace, tmp_path):
    commit = head(changed)
    shutil.copy("models/model.onnx", tmp_path / "old.onnx")
    lock = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    changed.commit("nothing is known")
    _, found = trace(tmp_path / "old.onnx", "--json")
    assert found["run"]["commit"] == commit
    changed.run("git", "reset", "--quiet", "--hard", commit)
    Path("dvc.lock").write_text(lock + "\n")
    _, found = trace(tmp_path / "old.onnx", "--json")
    assert (found["run"]["commit"], found["also_in"][-1]) == (commit, "the workspace, not committed")


def test_an_image_leads_to_its_row_its_side_and_the_models_that_saw_it(here, trace, tmp_path):
    dataset, splits = Dataset(), read_splits()
    for side, seen in (("train", "trained on it"), ("val", "chosen by it"), ("test", "tested on it")):
        row = int(splits.rows(side)[3])
        Image.fromarray(dataset.pixels(row)).save(tmp_path / "some.bmp")  # other bytes, the same pixels
        _, found = trace(tmp_path / "some.bmp", "--json")
        model = found["models"][0]  # what is committed in this repository was trained on the same data
        assert model["commit"] == head(here)
        expected = {"id": dataset.column("id")[row], "class": dataset.classes[dataset.labels[row]]}
        assert expected | {"split": side, "model": seen} in model["rows"]
        assert f"{expected['id']}, class {expected['class']}, {side}: {seen}" in trace(tmp_path / "some.bmp")[1]
    assert trace(tmp_path / "some.bmp", "--verify")[0] == 0


def test_what_is_of_no_run_is_an_error_that_says_where_it_was_looked_for(here, tmp_path):
    (tmp_path / "some.txt").write_text("?")
    with pytest.raises(SystemExit, match=r"error: .*some\.txt \(file\) is of no run that is known here.*1 experiments"):
        main([str(tmp_path / "some.txt")])
    (tmp_path / "some.png").write_bytes(images.encode(random_pixels(8, 8, 3)))
    with pytest.raises(SystemExit, match=r"some\.png is in no data that is known here.* in the data of [12] models"):
        main([str(tmp_path / "some.png")])
    for name in ("not.onnx", "not.ckpt", "not.json"):
        (tmp_path / name).write_bytes(b'{"payloadType": 1}')
        with pytest.raises(SystemExit, match="is of no run that is known here"):
            main([str(tmp_path / name)])
    with pytest.raises(SystemExit, match="is not there"):
        main([str(tmp_path / "nothing")])
    with pytest.raises(SystemExit, match="is a folder; name a file in it"):
        main(["models"])


def test_outside_of_a_project_it_says_so(own_folder):
    Path("some.txt").write_text("?")
    with pytest.raises(SystemExit, match=r"has no dvc\.lock, in the workspace or in git"):
        main(["some.txt"])


def test_tags_say_since_when_it_is_the_champion_and_what_the_verdicts_were(changed, trace):
    commit = head(changed)
    other = changed.run("git", "rev-parse", "HEAD~").stdout.strip()
    verdict = {"verdict": "PROMOTE", "reasons": ["better by 2 points"], "challenger": {"commit": commit}}

    def tag(name: str, target: str, message: str = "m") -> None:
        changed.run("git", "tag", "--annotate", "--message", message, name, target)

    tag("classifier@v0.0.1", commit)
    tag("classifier#champion#1", commit)
    tag(f"promotion/classifier/{other[:12]}/1", commit, json.dumps(verdict))
    tag(f"promotion/classifier/{other[:12]}/2", commit, "no verdict")
    _, found = trace("models/model.onnx", "--json")
    (turn,) = found["promotion"]["stages"]
    assert (turn["tag"], turn["stage"], turn["until"]) == ("classifier#champion#1", "champion", None)
    assert found["promotion"]["versions"] == ["classifier@v0.0.1"]
    (said,) = found["promotion"]["verdicts"]
    assert (said["verdict"], said["reasons"]) == ("PROMOTE", ["better by 2 points"])
    tag("classifier#champion#2", other)
    _, told = trace("models/model.onnx")
    assert f"since {turn['since']} until " in told
    assert "PROMOTE" in told


def test_every_digest_holds_and_a_changed_one_does_not(changed, trace):
    status, found = trace("models/model.onnx", "--json", "--verify")
    assert status == 0
    assert {check["holds"] for check in found["verified"]} == {True}
    assert len(found["verified"]) > 40
    md5 = next(
        line for line in Path("dvc.lock").read_text().split("reports/train/history.csv")[1].split() if len(line) == 32
    )
    damaged = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    damaged.chmod(0o644)
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    status, told = trace("models/model.onnx", "--verify")
    assert status == 1
    (line,) = [line for line in told.splitlines() if "DOES NOT HOLD" in line]
    assert line.endswith("reports/train/history.csv is what dvc.lock says")
    damaged.unlink()
    Path("reports/train/history.csv").unlink()
    status, told = trace("models/model.onnx", "--verify")
    assert (status, "not here      reports/train/history.csv" in told) == (0, True)
    assert told.endswith("0 do not, 1 could not be looked at.\n")


def test_what_training_chose_itself_is_no_contradiction():
    written = {"name": "timm/x", "weights": "s3://b/some/x.safetensors", "weights_sha256": None, "input_size": None}
    used = {**written, "weights": "x.safetensors", "weights_sha256": "a" * 64, "input_size": 224}
    assert agrees(written, used)
    assert not agrees({**written, "name": "timm/y"}, used)
    assert not agrees({**written, "weights": "y.safetensors"}, used)
    assert not agrees({**written, "input_size": 160}, used)
    assert not agrees({"name": "timm/x"}, used)


def test_a_fingerprint_that_is_not_of_its_ingredients_or_code_is_noticed(changed, trace):
    file = Path("reports/train/fingerprint.json")
    known = json.loads(file.read_text())
    del known["fingerprint"]
    known["code"]["stages/train/fit.py"] = "0" * 64
    for fingerprint, wrong in (
        ("f" * 64, "that of its ingredients"),
        (content_digest(known), "but for stages/train/fit.py"),
    ):
        file.unlink()
        file.write_text(json.dumps({"fingerprint": fingerprint, **known}))
        changed.run("dvc", "commit", "--force", "train")
        changed.commit("forged")
        status, told = trace("models/checkpoints/best.ckpt", "--verify")
        assert status == 1
        assert any(wrong in line for line in told.splitlines() if "DOES NOT HOLD" in line)


def test_it_works_in_a_clone_that_has_nothing_but_git(here, trace, tmp_path, monkeypatch):
    here.run("git", "clone", "--quiet", str(here.path), str(tmp_path / "clone"))
    model = shutil.copy("models/model.onnx", tmp_path)
    monkeypatch.chdir(tmp_path / "clone")
    _, found = trace(model, "--json")
    assert (found["run"]["commit"], found["data"]["dataset"]) == (head(here), None)
    status, told = trace(model, "--verify")
    assert (status, "not here      data/dataset is what" in told) == (0, True)
