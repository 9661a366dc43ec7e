"""The network that the questions about the model file ask."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.settings import composed
from lightline.models.build import build_network
from lightline.models.checkpoint import Checkpoint, save_checkpoint
from lightline.models.transforms import Preprocessing
from stages.export.exporter import export_onnx
from stages.quantize.int8 import quantize

SIZE, NUM_CLASSES = 32, 10


@dataclass(frozen=True)
class ModelFiles:
    """ResNet-18 for 32×32 pixels and ten classes, as a checkpoint and in ONNX."""

    checkpoint: Path
    fp32: Path
    int8: Path


def write_resnet18(folder: Path) -> ModelFiles:
    """Write ResNet-18's files, with random weights: neither time nor memory depends on them."""
    settings = composed("model=resnet18", f"model.input_size={SIZE}", "model.stem=small").model
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        fingerprint="0" * 64,
        dataset="0" * 64,
        classes=[f"class {number}" for number in range(NUM_CLASSES)],
        params={"model": settings.model_dump(mode="json")},
        preprocessing=Preprocessing(SIZE, 1.0, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)),
        epoch=1,
        metrics={},
        state_dict=build_network(settings, NUM_CLASSES).state_dict(),
    )
    files = ModelFiles(folder / "resnet18.ckpt", folder / "resnet18.onnx", folder / "resnet18.int8.onnx")
    save_checkpoint(checkpoint, files.checkpoint)
    export_onnx(checkpoint, {}, 20, files.fp32)
    quantize(files.fp32, [pixels(32)], files.int8)
    return files


def pixels(batch: int) -> np.ndarray:
    """Draw uint8 noise [batch, 32, 32, 3]."""
    return np.random.default_rng(0).integers(0, 256, (batch, SIZE, SIZE, 3), dtype=np.uint8)
