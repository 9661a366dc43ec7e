import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lightline.data.dataset import Dataset, Row, write_dataset
from lightline.data.splits import read_splits
from lightline.errors import DataError
from lightline.models.logits import read_logits
from lightline_predict import images
from lightline_predict.images import pixel_digest
from stages.test.evaluate import Evaluation, evaluate
from stages.test.report import write_report
from tests.support import ROOT
from tests.support.evaluations import CLASSES, NOTHING, SETTINGS, made_up, made_up_evaluation


def test_metrics_are_flat_numbers_with_an_interval_around_accuracy():
    metrics = made_up_evaluation().metrics
    assert list(metrics) == [
        *("accuracy", "accuracy_lower", "accuracy_upper", "top5_accuracy", "precision", "recall", "f1", "auroc"),
        *("loss", "ece", "temperature", "calibrated_loss", "calibrated_ece"),
    ]
    assert all(type(value) is float for value in metrics.values())
    assert metrics["accuracy_lower"] < metrics["accuracy"] < metrics["accuracy_upper"]


def test_the_temperature_of_val_mends_the_test_splits_confidence():
    evaluation = made_up_evaluation()
    metrics = evaluation.metrics
    assert metrics["temperature"] > 2
    assert metrics["calibrated_ece"] < metrics["ece"] / 2
    assert metrics["calibrated_loss"] < metrics["loss"]
    assert evaluation.warnings == []
    assert (evaluation.confidence < evaluation.probability).all()


def test_test_labels_do_not_move_the_temperature():
    logits, labels = made_up(300, 0)
    other = evaluate(logits, (labels + 1) % 6, made_up(300, 1), SETTINGS, CLASSES)
    assert other.metrics["temperature"] == made_up_evaluation().metrics["temperature"]


def test_without_val_confidence_stays_and_is_warned_of():
    evaluation = evaluate(*made_up(50, 0), NOTHING, SETTINGS, CLASSES)
    assert evaluation.metrics["temperature"] == 1
    assert evaluation.metrics["ece"] == evaluation.metrics["calibrated_ece"]
    assert "no validation split" in evaluation.warnings[0]


def test_a_perfect_model_is_judged_and_warned_of():
    labels = np.arange(60) % 6
    logits = np.eye(6, dtype=np.float32)[labels] * 9
    evaluation = evaluate(logits, labels, (logits, labels), SETTINGS, CLASSES)
    assert evaluation.metrics["accuracy"] == evaluation.metrics["accuracy_lower"] == 1
    assert evaluation.metrics["temperature"] == 1
    assert "no temperature can be fitted" in evaluation.warnings[0]
    assert "all of 60 test images are right" in evaluation.warnings[1]


def test_a_class_without_test_images_is_named():
    logits, labels = made_up(300, 0)
    labels[labels == 1] = 0
    evaluation = evaluate(logits, labels, NOTHING, SETTINGS, CLASSES)
    assert evaluation.warnings[0].endswith("1 of 6 classes, which count in no mean over classes: bee.")


def test_nothing_to_judge_and_diverged_models_are_refused():
    with pytest.raises(DataError, match=r"set split\.test above 0"):
        evaluate(np.zeros((0, 6)), np.zeros(0, np.int64), NOTHING, SETTINGS, CLASSES)
    logits, labels = made_up(10, 0)
    logits[3, 2] = np.nan
    with pytest.raises(DataError, match="not finite for 1 of 10 test images"):
        evaluate(logits, labels, NOTHING, SETTINGS, CLASSES)


# The report


def write_images(folder: Path, labels: np.ndarray) -> Dataset:
    """A dataset whose class 1 has images of another size."""
    rows = []
    for number, label in enumerate(labels):
        pixels = np.full((8, 8 if label != 1 else 20, 3), number % 256, np.uint8)
        name = CLASSES[label]
        rows.append(
            Row(f"{number:04d}", images.encode(pixels), name, *pixels.shape[:2], pixel_digest(pixels), "test", None)
        )
    write_dataset(rows, CLASSES, folder)
    return Dataset(folder)


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    """An evaluation of 300 images of 310, written to reports/test below the current folder."""
    monkeypatch.chdir(tmp_path)
    logits, labels = made_up(300, 0)
    labels[labels == 4] = 0  # a class without test images
    dataset = write_images(Path("data/dataset"), np.concatenate([np.full(10, 4), labels]))
    evaluation = evaluate(logits, labels, made_up(300, 1), SETTINGS, CLASSES)
    write_report(evaluation, dataset, np.arange(10, 310), SETTINGS.num_mistakes)
    return evaluation


def test_metrics_are_json_without_nan(reported: Evaluation):
    text = Path("reports/test/metrics.json").read_text()
    metrics = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert metrics == pytest.approx(reported.metrics, abs=1e-6)


def test_every_test_image_has_its_prediction(reported: Evaluation):
    table = pq.read_table("reports/test/predictions.parquet")
    assert table["id"].to_pylist() == [f"{number:04d}" for number in range(10, 310)]
    logits = np.stack(table["logits"].to_numpy())
    assert np.array_equal(logits, reported.logits)
    assert table["predicted"].to_pylist() == logits.argmax(1).tolist()
    powers = np.exp(logits.astype(np.float64))
    assert table["probability"].to_pylist() == pytest.approx((powers / powers.sum(1, keepdims=True)).max(1).tolist())
    assert table["predicted_class"].to_pylist() == [CLASSES[label] for label in logits.argmax(1)]


def test_tables_agree_with_the_metrics(reported: Evaluation):
    with Path("reports/test/confusion.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    assert np.mean([pair["actual"] == pair["predicted"] for pair in pairs]) == pytest.approx(
        reported.metrics["accuracy"]
    )
    with Path("reports/test/per_class.csv").open(newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert list(rows) == CLASSES
    assert rows["eel"] == {"class": "eel", "images": "0", "precision": "", "recall": "", "f1": "", "auroc": ""}
    recalls = [float(row["recall"]) for row in rows.values() if row["recall"]]
    assert np.mean(recalls) == pytest.approx(reported.metrics["recall"], abs=1e-5)
    for name in ("before", "after"):
        with Path(f"reports/test/calibration_{name}.csv").open(newline="") as file:
            assert sum(int(row["images"]) for row in csv.DictReader(file)) == 300


def test_a_second_report_is_the_same_bytes(reported: Evaluation):
    first = {path.name: path.read_bytes() for path in Path("reports/test").iterdir()}
    assert {"mistakes.png", "confusion.png", "calibration.png"} < set(first)
    write_report(reported, Dataset(), np.arange(10, 310), SETTINGS.num_mistakes)
    assert first == {path.name: path.read_bytes() for path in Path("reports/test").iterdir()}


# Logits kept in a file


# The stage


# Runs the stage's module as dvc does, then looks at what it imported on the way.
_RUN_STAGE = """
import atexit, runpy, sys

@atexit.register
def show():
    unwanted = {"lightning", "pytorch_lightning", "wandb", "onnx"} & {name.split(".")[0] for name in sys.modules}
    print("imported:", sorted(unwanted))

runpy.run_module("stages.test", run_name="__main__")
"""


def test_the_stage_says_what_is_missing_and_imports_no_lightning(tmp_path: Path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    process = subprocess.run(
        (sys.executable, "-c", _RUN_STAGE),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.startswith("error: data/dataset holds no dataset; `dvc repro download` writes it.")
    assert process.stdout == "imported: []\n"


def test_the_pipeline_judges_exactly_the_test_rows(finished_project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished_project.path)
    dataset, rows = Dataset(), read_splits().rows("test")
    table = pq.read_table("reports/test/predictions.parquet")
    assert table["id"].to_pylist() == dataset.column("id")[rows].tolist()
    assert np.array_equal(table["label"].to_numpy(), dataset.labels[rows])
    metrics = json.loads(Path("reports/test/metrics.json").read_text())
    accuracy = np.mean(table["predicted"].to_numpy() == table["label"].to_numpy())
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert metrics["accuracy"] > 0.5
    logits, labels = read_logits()
    val = read_splits().rows("val")
    assert np.array_equal(labels, dataset.labels[val])
    assert logits.shape == (len(val), 10)
