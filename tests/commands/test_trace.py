"""Where files come from, in a real repository with runs, an experiment and a champion."""

import json
import shutil
from pathlib import Path

import onnx
import pytest
from PIL import Image

from commands.trace import main
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline_predict import images
from tests.support.project import Project
from tests.support.samples import random_pixels


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
    assert found["run"]["experiment"] == "other-opset"
    differing = {one["name"]: (one["there"], one["here"]) for one in found["parameters"]["differing"]}
    assert differing == {"export.opset": (20, 21), "export.latency": (True, False)}
    assert found["parameters"]["compared_with"] == head(here)
    _, told = trace(here.path.parent / "experiment.onnx")
    assert "export.opset = 21, there 20" in told
    assert f"experiment other-opset, commit {found['run']['commit'][:12]}" in told
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


def test_it_works_in_a_clone_that_has_nothing_but_git(here, trace, tmp_path, monkeypatch):
    here.run("git", "clone", "--quiet", str(here.path), str(tmp_path / "clone"))
    model = shutil.copy("models/model.onnx", tmp_path)
    monkeypatch.chdir(tmp_path / "clone")
    _, found = trace(model, "--json")
    assert (found["run"]["commit"], found["data"]["dataset"]) == (head(here), None)
    status, told = trace(model, "--verify")
    assert (status, "not here      data/dataset is what" in told) == (0, True)
