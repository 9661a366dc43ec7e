"""The stage that makes the int8 file, on a small network that was trained, tested and exported by the stages before."""

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits
from lightline.errors import DataError, LightlineError, NoRoomError
from lightline.model_file.decision import Decision
from lightline.model_file.decision_metadata import replace_decision
from lightline_predict import images
from lightline_predict.classifier import Classifier
from stages.export import __main__ as export
from stages.quantize import __main__ as quantize
from stages.test import __main__ as test
from stages.train import __main__ as train
from tests.support.small_disk import files_of_at_most
from tests.support.tiny import CLASSES, ROOT, tiny_params, tiny_task

OUTPUTS = (quantize.MODEL, quantize.CARD, quantize.STATEMENT, quantize.REPORT, quantize.LATENCY)

EXPORTED = (export.MODEL, export.CARD, export.STATEMENT, export.LATENCY)


def stage_params(**changes: Any) -> Params:
    return tiny_params(trainer__max_epochs=6, optimizer__lr=0.002, export__quantize=["int8"], **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all stages before ran."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = stage_params()
        tiny_task(params)
        for stage in (train, test, export):
            stage.main(params)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to work in."""
    shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def runtimes(table: Path) -> set[tuple[str, str]]:
    with table.open() as file:
        return {(row["runtime"], row["batch"]) for row in csv.DictReader(file)}


def test_the_int8_file_is_as_right_smaller_and_described(folder):
    quantize.main(stage_params())
    metrics = json.loads(quantize.REPORT.read_text())
    assert metrics["int8_accuracy"] >= json.loads(export.REPORT.read_text())["onnx_accuracy"] - 0.005
    assert metrics["int8_accuracy"] > 0.9
    assert metrics["int8_bytes"] == quantize.MODEL.stat().st_size < 0.4 * quantize.SOURCE.stat().st_size
    assert metrics["int8_calibration_images"] == len(read_splits().rows("train"))
    assert Classifier(quantize.MODEL).metadata == Classifier(quantize.SOURCE).metadata

    kinds = {"torch eager", "onnxruntime fp32"}
    batches = ("1", "8", "64")
    assert runtimes(export.LATENCY) == {(kind, batch) for kind in kinds for batch in batches}
    assert runtimes(quantize.LATENCY) == {(kind, batch) for kind in kinds | {"onnxruntime int8"} for batch in batches}
    card = quantize.CARD.read_text()
    for part in ("# cnn in int8", "## Quantisation", "models/model.int8.onnx", "| onnxruntime int8 | 64 |"):
        assert part in card
    assert "| onnxruntime fp32 | 1 |" in export.CARD.read_text()


def test_it_answers_images_without_torch(folder):
    quantize.main(stage_params(export__latency=False))
    (folder / "red.png").write_bytes(images.encode(np.full((9, 30, 3), (220, 60, 60), np.uint8)))
    code = (
        "import runpy, sys\n"
        "sys.modules |= dict.fromkeys(['torch', 'torchvision', 'lightning', 'onnx', 'pydantic', 'pyarrow'])\n"
        "runpy.run_module('lightline', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, "predict", str(folder / quantize.MODEL), str(folder / "red.png")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.split("\t")[1] in CLASSES


def test_without_latency_equal_runs_write_equal_bytes(folder):
    written = []
    for _ in range(2):
        export.main(stage_params(export__latency=False))
        quantize.main(stage_params(export__latency=False))
        written.append([path.read_bytes() for path in (*EXPORTED, *OUTPUTS)])
    assert written[0] == written[1]
    assert quantize.LATENCY.read_text() == export.LATENCY.read_text() == "runtime,batch,threads,runs,p50_ms,p95_ms\n"
    assert "Not measured" in quantize.CARD.read_text()
    assert "Not measured" in export.CARD.read_text()


def test_both_files_and_cards_say_how_the_images_were_read(folder):
    summary = folder / "data/dataset/dataset.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"bit_depth": 12}))
    params = stage_params(export__latency=False, data__max_pixels=900)
    export.main(params)
    quantize.main(params)
    for model, card in ((export.MODEL, export.CARD), (quantize.MODEL, quantize.CARD)):
        assert Classifier(model).reading == images.Reading(max_pixels=900, bit_depth=12)
        assert "12 are in use (`data.bit_depth`)" in card.read_text()
        assert "# 16 bits a channel, 12 of them in use" in card.read_text()


def whiten(monkeypatch: pytest.MonkeyPatch, split: str) -> None:
    """From here on, the images of a split are white."""
    rows, pixels = set(read_splits().rows(split).tolist()), Dataset.pixels
    monkeypatch.setattr(
        Dataset, "pixels", lambda dataset, row: pixels(dataset, row) | np.uint8(255 if int(row) in rows else 0)
    )


def test_calibration_sees_train_images_and_no_others(folder, monkeypatch):
    params = stage_params(export__latency=False, export__max_accuracy_drop=0.99)

    def numbers() -> bytes:
        """The file without what is fitted to val, when an answer is sure enough."""
        quantize.main(params)
        replace_decision(quantize.MODEL, Decision())
        return quantize.MODEL.read_bytes()

    content = numbers()
    for split in ("test", "val"):
        with monkeypatch.context() as patch:
            whiten(patch, split)
            assert numbers() == content
    whiten(monkeypatch, "train")
    assert numbers() != content


def test_what_fails_the_gate_leaves_no_file_and_no_older_one(folder):
    quantize.main(stage_params(export__latency=False))
    assert all(path.exists() for path in OUTPUTS)
    params = stage_params(export__latency=False)
    strict = params.export.model_copy(update={"max_accuracy_drop": -0.01})  # int8 would have to be better
    with pytest.raises(LightlineError, match=r"int8 reaches a test accuracy of .* allows -0\.01\. No int8 file"):
        quantize.main(params.model_copy(update={"export": strict}))
    assert not any(path.exists() for path in OUTPUTS)
    left = {path.name for path in (folder / "models").iterdir()}
    assert left == {"checkpoints", "model.onnx", "MODEL_CARD.md", "model.intoto.json"}


def test_a_model_file_of_another_training_is_refused(folder, exported):
    shutil.copy(exported("cnn", crop_pct=0.9)[1], quantize.SOURCE)
    with pytest.raises(DataError, match=r"model\.onnx was not exported from .*best\.ckpt; `dvc repro`"):
        quantize.main(stage_params())


def test_a_full_disk_is_told_and_no_verdict_on_the_network(folder):
    with (
        pytest.raises(NoRoomError, match=rf"^{quantize.MODEL} cannot be written: File too large"),
        files_of_at_most(1000),
    ):
        quantize.main(stage_params())
    assert not [path for path in folder.rglob(".*") if path.name.startswith(".model")]


def test_the_disk_of_temporary_files_is_not_needed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    quantize.main(stage_params(export__latency=False))
    assert quantize.MODEL.exists()
    assert not [path for path in folder.rglob(".*") if path.name.startswith(".model")]
