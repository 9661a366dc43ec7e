"""The gate as the export stage uses it: a fault in the exported file stops the stage, and there is no model file."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from lightline.errors import DataError
from lightline.files import file_digest
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.models.checkpoint import BEST, save_checkpoint
from lightline.models.transforms import Preprocessing
from lightline_predict.classifier import Classifier
from stages.export import __main__ as export
from stages.export import exporter as onnx_export
from stages.export.parity import PREDICTIONS, ParityError
from tests.stages.export.test_parity import NotAntialiased
from tests.support.samples import CLASSES, expected_logits, model_settings, prepare_export, write_test_reports
from tests.support.tiny import tiny_params


class SwappedChannels(PixelClassifier):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return super().forward(image.flip(3))


def batch_statistics(network: nn.Module, *rest) -> nn.Module:
    """What batch normalisation computes in training mode; from the mode alone the exporter makes evaluation mode."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = layer.running_var = None
    return PixelClassifier(network, *rest)


def other_mean(network: nn.Module, preprocessing: Preprocessing, *rest) -> nn.Module:
    return PixelClassifier(network, replace(preprocessing, mean=(0.5, 0.4, 0.31)), *rest)


def other_resize(network: nn.Module, preprocessing: Preprocessing, *rest) -> nn.Module:
    model = PixelClassifier(network, preprocessing, *rest)
    model.transform[0] = NotAntialiased(preprocessing.input_size, preprocessing.crop_pct)
    return model


EXPORTED_FAULTS = {
    "wrong normalisation": other_mean,
    "swapped channels": SwappedChannels,
    "other resize": other_resize,
    "batch normalisation in training mode": batch_statistics,
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder to run the stage in, with nothing to track."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return tmp_path


@pytest.mark.parametrize(("fault", "scale"), [(None, 1), *zip(EXPORTED_FAULTS, (0.01, 100, 0.01, 100), strict=True)])
def test_a_fault_in_the_exported_file_stops_the_stage(fault, scale, folder, monkeypatch):
    """The fault is in what is exported; the stage's own reference is right. scale: of the last layer."""
    settings = model_settings("airbench", widths=[8, 8, 16], depths=[2, 2, 2])
    checkpoint, dataset = prepare_export(folder, settings, scale)
    write_test_reports(dataset, expected_logits(checkpoint, dataset))
    if fault is not None:
        monkeypatch.setattr(onnx_export, "PixelClassifier", EXPORTED_FAULTS[fault])
        with pytest.raises(ParityError, match="onnxruntime and torch disagree on the test split"):
            export.main(tiny_params(export__latency=False))
    else:
        export.main(tiny_params(export__latency=False))
        assert export.TIES.read_text() == "id,where,source,expected,answered,lead,allowed\n"
        assert Classifier(export.MODEL).metadata["reference"] == file_digest(export.REFERENCE)
    assert export.MODEL.exists() == (fault is None)


def test_what_test_found_in_other_arithmetic_passes_and_its_ties_are_listed(folder):
    """As after a test on a GPU: other sums, and between two classes that are as good as equal another answer."""
    checkpoint, dataset = prepare_export(folder)
    logits = expected_logits(checkpoint, dataset)[0]
    first, second = np.argsort(-logits)[:2]
    checkpoint.state_dict["classes.bias"][second] += 0.999 * float(logits[first] - logits[second])
    save_checkpoint(checkpoint, BEST)
    logits = expected_logits(checkpoint, dataset)
    spread = np.ptp(logits, axis=1).mean()
    elsewhere = logits + np.random.default_rng(0).uniform(-0.01, 0.01, logits.shape).astype(np.float32) * spread
    elsewhere[0, second] = elsewhere[0, first] + 0.001 * spread
    write_test_reports(dataset, elsewhere)
    export.main(tiny_params(export__latency=False))
    with export.TIES.open(encoding="utf-8") as file:
        ties = {tie["id"]: tie for tie in csv.DictReader(file)}
    changed = dataset.column("id")[:6][elsewhere.argmax(1) != logits.argmax(1)].tolist()
    assert list(ties) == changed
    tie = ties[changed[0]]
    assert (tie["source"], tie["where"]) == ("`test`", "the test split")
    assert (tie["expected"], tie["answered"]) == (CLASSES[second], CLASSES[first])
    assert 0 < float(tie["lead"]) < float(tie["allowed"])
    report = json.loads(export.REPORT.read_text())
    assert report["onnx_ties"] == len(changed)
    assert report["onnx_tolerance_used"] < 0.1 < report["onnx_test_tolerance_used"] < 1
    assert report["onnx_accuracy"] == round(float((logits.argmax(1) == dataset.labels[:6]).mean()), 6)


def test_another_answer_than_test_found_stops_the_stage(folder):
    checkpoint, dataset = prepare_export(folder)
    logits = expected_logits(checkpoint, dataset)
    lead = np.sort(logits, axis=1)[:, -1] - np.sort(logits, axis=1)[:, -2]
    clear = int(lead.argmax())
    logits[clear] = np.roll(logits[clear], 1)
    write_test_reports(dataset, logits)
    with pytest.raises(
        ParityError, match=r"onnxruntime and `test` disagree on the test split: .* No model was"
    ) as told:
        export.main(tiny_params(export__latency=False))
    for part in (repr(str(dataset.column("id")[clear])), "export.test_rtol = 0.05", "--single-item test"):
        assert part in str(told.value)
    assert [path.name for path in (folder / "models").iterdir()] == ["checkpoints"]
    assert not (folder / "reports/export").exists()


def test_predictions_of_other_images_are_refused(folder):
    checkpoint, dataset = prepare_export(folder)
    logits = expected_logits(checkpoint, dataset)
    write_test_reports(dataset, logits)
    table = pq.read_table(PREDICTIONS)
    pq.write_table(table.take([1, 0, 2, 3, 4, 5]), PREDICTIONS)
    with pytest.raises(DataError, match=r"predictions\.parquet is of another test split; `dvc repro`"):
        export.main(tiny_params(export__latency=False))
