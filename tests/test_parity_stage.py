"""The gate as the export stage uses it: a fault in the exported file stops the stage, and there is no model file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lightline import onnx_export
from lightline.checkpoint import Checkpoint
from lightline.dataset import Dataset
from lightline.onnx_export import PixelClassifier
from lightline.parity import ParityError
from lightline.transforms import Preprocessing
from stages import export
from tests.samples import model_settings, prepare_export
from tests.test_parity import NotAntialiased
from tests.tiny import tiny_params


class SwappedChannels(PixelClassifier):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().forward(image.flip(3))


def batch_statistics(network: nn.Module, preprocessing: Preprocessing) -> nn.Module:
    """What batch normalisation computes in training mode; from the mode alone the exporter makes evaluation mode."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = layer.running_var = None
    return PixelClassifier(network, preprocessing)


def other_mean(network: nn.Module, preprocessing: Preprocessing) -> nn.Module:
    return PixelClassifier(network, replace(preprocessing, mean=(0.5, 0.4, 0.31)))


def other_resize(network: nn.Module, preprocessing: Preprocessing) -> nn.Module:
    model = PixelClassifier(network, preprocessing)
    model.transform[0] = NotAntialiased(preprocessing.input_size, preprocessing.crop_pct)
    return model


EXPORTED_FAULTS = {
    "wrong normalisation": other_mean,
    "swapped channels": SwappedChannels,
    "other resize": other_resize,
    "batch normalisation in training mode": batch_statistics,
}


@pytest.mark.parametrize("fault", [None, *EXPORTED_FAULTS])
def test_a_fault_in_the_exported_file_stops_the_stage(fault, tmp_path, monkeypatch):
    """The fault is in what is exported; the stage's own reference is right."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    checkpoint, dataset = prepare_export(tmp_path, model_settings("airbench", widths=[8, 8, 16], depths=[2, 2, 2]))
    write_test_metrics(accuracy_of(checkpoint, dataset))
    if fault is not None:
        monkeypatch.setattr(onnx_export, "PixelClassifier", EXPORTED_FAULTS[fault])
        with pytest.raises(ParityError, match="onnxruntime and torch disagree on the test split"):
            export.main(tiny_params(export__latency=False))
    else:
        export.main(tiny_params(export__latency=False))
    assert export.MODEL.exists() == (fault is None)


def accuracy_of(checkpoint: Checkpoint, dataset: Dataset) -> float:
    """On the six test rows of `prepare_export`."""
    reference = PixelClassifier(checkpoint.network(), checkpoint.transform_settings()).eval()
    with torch.inference_mode():
        pixels = torch.from_numpy(np.stack([dataset.pixels(row) for row in range(6)]))
        logits = reference(pixels)[0].numpy()
    return float((logits.argmax(1) == dataset.labels[:6]).mean())


def write_test_metrics(accuracy: float) -> None:
    Path("reports/test").mkdir(parents=True)
    Path("reports/test/metrics.json").write_text(json.dumps({"accuracy": accuracy}))


def test_the_stage_writes_no_model_that_does_not_pass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    accuracy = accuracy_of(*prepare_export(tmp_path))
    write_test_metrics((accuracy + 0.5) % 1)
    with pytest.raises(ParityError, match=rf"reaches a test accuracy of {accuracy:.6f} where"):
        export.main(tiny_params())
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["checkpoints"]
    assert not (tmp_path / "reports/export").exists()
