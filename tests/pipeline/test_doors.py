"""The first two doors: dvc repro and dvc exp run, as a user types them. The third is in tests/flows/."""

import csv
import json
import shlex
import shutil
import time
from pathlib import Path

import pytest
import yaml

from tests.support.photo_folder import make_folder, ran
from tests.support.project import Project
from tests.support.wandb_file import read_offline_runs


def params(project: Project) -> dict:
    return yaml.safe_load((project.path / "params.yaml").read_text())


def queue_results(project: Project) -> list[str]:
    """How the queued experiments ended, once none is left."""
    while True:
        tasks = [line.split() for line in project.run("dvc", "queue", "status").stdout.splitlines()[1:] if line]
        results = [words[-1] for words in tasks if words[0] not in ("Worker", "Task")]
        if not {"Queued", "Running"} & set(results):
            return results
        time.sleep(5)  # to ask takes two


@pytest.fixture
def copy(finished_project: Project, tmp_path: Path) -> Project:
    """The finished project, to be changed."""
    shutil.copytree(finished_project.path, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_nothing_runs_again_where_nothing_has_changed(copy: Project):
    assert ran(copy.run("dvc", "repro").stdout) == ["source"]
    assert copy.run("git", "status", "--porcelain").stdout == ""


def test_another_machine_makes_nothing_stale(copy: Project):
    values = params(copy)
    values["hardware"] |= {"accelerator": "cpu", "devices": 1}
    values["tracking"]["mode"] = "disabled"
    (copy.path / "params.yaml").write_text(yaml.safe_dump(values))
    assert ran(copy.run("dvc", "repro").stdout) == ["source"]


def test_a_change_of_evaluation_trains_nothing(copy: Project):
    result = copy.run("dvc", "exp", "run", "-S", "evaluate.bootstrap_samples=200", "-S", "trainer.max_epochs=2")
    assert ran(result.stdout) == ["source", "test", "export", "report"]


def test_an_experiment_takes_choices_and_values_and_can_be_compared(copy: Project):
    overrides = ["model=airbench_narrow", "optimizer=adamw", "model.input_size=16", "trainer.max_epochs=1"]
    arguments = [part for override in overrides for part in ("-S", override)]
    result = copy.run("dvc", "exp", "run", "--name", "deep", *arguments)
    assert ran(result.stdout) == ["source", "train", "test", "export", "report"]
    values = params(copy)
    assert (values["model"]["name"], values["optimizer"]["name"], values["trainer"]["max_epochs"]) == (
        "airbench",
        "adamw",
        1,
    )
    assert values["optimizer"]["weight_decay"] == 0.01
    assert "deep" in copy.experiments()
    readme = (copy.path / "README.md").read_text()
    show = next(shlex.split(line) for line in readme.splitlines() if line.startswith("dvc exp show --"))
    header, *rows = csv.reader(copy.run(*show, "--csv").stdout.splitlines())
    assert {"fingerprint", "accuracy", "model.name"} < set(header)
    assert [row[header.index("model.name")] for row in rows if "deep" in row] == ["airbench"]
    fingerprints = json.loads((copy.path / "reports/train/fingerprint.json").read_text())
    assert fingerprints["params"]["model"]["name"] == "airbench"
    # What DVC compares it with is the commit it started from.
    diff = json.loads(copy.run("dvc", "metrics", "diff", "--json").stdout)
    assert "diff" in diff["reports/test/metrics.json"]["accuracy"]
    copy.run("dvc", "plots", "diff", "--out", "plots")
    page = (copy.path / "plots" / "index.html").read_text()
    for title in ("Loss by epoch", "Accuracy by epoch", "Confusion on the test split", "Reliability on the test split"):
        assert title in page


def test_an_int8_file_is_made_only_where_it_is_asked_for(copy: Project):
    assert "quantize" not in copy.run("dvc", "stage", "list").stdout
    assert not (copy.path / "models/model.int8.onnx").exists()
    # Two epochs leave close calls, which rounding may decide otherwise.
    asked = ["-S", "export=int8", "-S", "export.max_accuracy_drop=0.1"]
    assert ran(copy.run("dvc", "exp", "run", "--name", "small", *asked).stdout) == ["source", "quantize@int8", "report"]
    assert "reports/export/metrics.int8.json" in copy.run("dvc", "metrics", "show").stdout
    for path in ("models/model.int8.onnx", "models/MODEL_CARD.int8.md", "reports/export/latency.int8.csv"):
        assert (copy.path / path).stat().st_size > 0
    runs = read_offline_runs(copy.path)
    assert (
        "model-int8",
        ["best", "latest"],
        ["MODEL_CARD.int8.md", "model.int8.intoto.json", "model.int8.onnx"],
    ) in runs[-2].artifacts
    assert [run.job for run in runs[-2:]] == ["quantize", "report"]
    assert runs[-1].id == runs[-2].id
    assert ran(copy.run("dvc", "repro").stdout) == ["source"]


def test_an_int8_file_that_is_not_right_enough_is_none_and_says_so(copy: Project):
    # Ranges taken from black images alone are too narrow for all others.
    code = copy.path / "stages/quantize/int8.py"
    planted = code.read_text().replace("_Reader(images)", "_Reader([next(images) * 0])")
    assert planted != code.read_text()
    code.write_text(planted)
    result = copy.run("dvc", "exp", "run", "-S", "export=int8", check=False)
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert ran(output) == ["source", "quantize@int8"]
    assert "error: int8 reaches a test accuracy of" in output
    assert "export.max_accuracy_drop allows 0.005" in output
    assert "Traceback" not in output
    assert not (copy.path / "models/model.int8.onnx").exists()
    (recorded,) = copy.experiments()
    assert recorded.endswith("-before-quantize")
    assert f"recorded as experiment {recorded}" in output


def test_a_refused_export_is_recorded_up_to_test(copy: Project):
    refused = copy.run("dvc", "exp", "run", "-n", "strict", "-S", "export.rtol=1e-9", check=False)
    assert refused.returncode != 0
    assert ran(refused.stdout) == ["source", "export"]
    assert "(export.rtol = 1e-09 of the spread of an image's logits). No model was written." in refused.stderr
    assert "recorded as experiment strict-before-export" in refused.stderr
    assert not (copy.path / "models/model.onnx").exists()
    shown = json.loads(copy.run("dvc", "exp", "show", "--json").stdout)
    (experiment,) = shown[1]["experiments"]
    metrics = experiment["revs"][0]["data"]["metrics"]
    assert experiment["name"] == "strict-before-export"
    assert metrics["reports/test/metrics.json"]["data"]["accuracy"] > 0.5
    assert not metrics.get("reports/export/metrics.json", {}).get("data"), "nothing of another model"

    copy.run("dvc", "exp", "apply", "strict-before-export", check=False)
    values = params(copy)
    assert values["export"]["rtol"] == 1e-9
    values["export"]["rtol"] = 0.002  # as the commit has it, DVC takes the file from its cache
    (copy.path / "params.yaml").write_text(yaml.safe_dump(values))
    assert ran(copy.run("dvc", "repro").stdout) == ["source", "export", "report"]
    assert (copy.path / "models/model.onnx").exists()


def test_queued_experiments_sweep_and_find_untracked_data(copy: Project):
    make_folder(copy.path / "photos")
    (copy.path / ".git" / "info" / "exclude").write_text("/photos\n")
    small = ["-S", "data=folder", "-S", "data.path=photos", "-S", "trainer.max_epochs=1", "-S", "model.input_size=16"]
    copy.run("dvc", "exp", "run", "--queue", *small, "-S", "optimizer.lr=choice(0.001,0.01)")
    copy.run("dvc", "queue", "start")
    assert queue_results(copy) == ["Success", "Success"]
    shown = json.loads(copy.run("dvc", "exp", "show", "--json").stdout)
    experiments = [entry["revs"][0]["data"] for entry in shown[1]["experiments"] or []]
    rates = {entry["params"]["params.yaml"]["data"]["optimizer"]["lr"] for entry in experiments}
    assert rates == {0.001, 0.01}
    for entry in experiments:
        assert "accuracy" in entry["metrics"]["reports/test/metrics.json"]["data"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.max_epochs=abc", ["trainer.max_epochs = 'abc'", "whole number", "conf/ is as it should be: `-S`"]),
        ("trainer.max_epochs=0", ["trainer.max_epochs = 0", "at least 1"]),
        ("trainer.precision=bf16", ["trainer.precision = 'bf16'", "bf16-mixed"]),
        ("model.name=resnet19", ["model.name = 'resnet19'", "resnet18"]),
        ("+trainer.max_epoch=3", ["trainer.max_epoch = 3", "trainer.max_epochs"]),
        ("export.quantize=[int4]", ["export.quantize.0 = 'int4'", "allowed: 'int8'"]),
        ("export.quantize=[int8,int8]", ["export.quantize = ['int8', 'int8']", "at most 1"]),
        # DVC reads this one to know its stages.
        ("export.quantize=int8", ["quantize", "expected list"]),
        # These two stop in Hydra, before Lightline is asked.
        ("trainer.max_epoch=3", ["trainer.max_epoch"]),
        ("model=resnet19", ["model/resnet19", "resnet18"]),
    ],
)
def test_a_wrong_override_stops_before_any_work(copy: Project, override: str, expected: list[str]):
    before = (copy.path / "dvc.lock").read_text()
    result = copy.run("dvc", "exp", "run", "-S", override, check=False)
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert set(ran(output)) <= {"source"}
    assert "Traceback" not in output
    for text in expected:
        assert text in output
    assert (copy.path / "dvc.lock").read_text() == before


def test_the_model_is_an_artifact_that_dvc_and_gto_know(copy: Project, tmp_path: Path):
    copy.run("gto", "register", "classifier", "--version", "v1.0.0")
    assert "classifier@v1.0.0" in copy.run("git", "tag").stdout
    copy.run("dvc", "artifacts", "get", str(copy.path), "classifier", "--out", str(tmp_path / "model.onnx"))
    assert (tmp_path / "model.onnx").read_bytes() == (copy.path / "models/model.onnx").read_bytes()
