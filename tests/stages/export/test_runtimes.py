"""One file, every runtime: OpenVINO and, under node, onnxruntime-web answer as onnxruntime does."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch

from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.models.build import head_names
from lightline.models.transforms import Preprocessing, evaluation_transform
from lightline_predict.classifier import Classifier
from stages.export import exporter
from stages.export.exporter import export_onnx
from stages.quantize.int8 import quantize
from tests.support import ROOT
from tests.support.samples import CLASSES, make_checkpoint, model_settings, random_pixels

INPUT_SIZE = 32
# From smaller than the input to far larger, in other proportions.
SIZES = [(1, 1), (8, 8), (32, 32), (33, 57), (224, 224), (640, 480), (1000, 700)]
BATCHES = (1, 3)
MOST = 1e-4  # of the spread of an image's logits
FILES = [
    ("cnn", 1.0, "bilinear"),
    ("cnn", 0.875, "bicubic"),
    ("resnet18", 1.0, "bicubic"),
    ("resnet18", 0.875, "bilinear"),
]
WEB = Path(__file__).parents[2] / "support/onnxruntime_web.js"

Answer = Callable[[np.ndarray], np.ndarray]  # uint8 [batch, height, width, 3] → logits float32 [batch, classes]


def pictures(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Stripes and noise on colours that differ from image to image, so that answers do too."""
    colours = random_pixels(batch, 1, 1, 3, seed=seed).astype(int)
    stripes = 60 * np.sin(np.arange(width) * (seed % 5 + 1) / 9)[:, None]
    noise = random_pixels(batch, height, width, 3, seed=seed) % 64
    return np.clip(colours + stripes + noise - 32, 0, 255).astype(np.uint8)


IMAGES = [pictures(batch, *size, seed=seed) for seed, size in enumerate(SIZES) for batch in BATCHES]


def export(name: str, crop_pct: float, interpolation: str, folder: Path) -> Path:
    """Write a file whose logits are 0 in the mean over IMAGES: pixels alone make their spread."""
    checkpoint = make_checkpoint(model_settings(name, crop_pct=crop_pct, input_size=INPUT_SIZE))
    checkpoint = replace(checkpoint, preprocessing=replace(checkpoint.preprocessing, interpolation=interpolation))
    network = checkpoint.network()
    with torch.inference_mode():
        model = PixelClassifier(network, checkpoint.preprocessing).eval()
        logits = torch.cat([model(torch.from_numpy(pixels))[0] for pixels in IMAGES])
    checkpoint.state_dict[f"{head_names(network)[-1]}.bias"] -= logits.mean(0)
    export_onnx(checkpoint, {}, 20, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(scope="module", params=FILES, ids=lambda file: "-".join(map(str, file)))
def file(request: pytest.FixtureRequest, once) -> Path:
    key = "-".join(map(str, request.param))
    return once(f"runtimes-{key}", lambda folder: export(*request.param, folder)) / "model.onnx"


def onnxruntime(path: Path) -> Answer:
    model = Classifier(path, num_threads=1)
    return lambda pixels: model.predict(pixels)[0]


@cache
def openvino_core() -> openvino.Core:
    """The one of this process: each gives the main thread a signal stack, and back the one that it found there.

    Of two, the first that goes leaves the second one a stack to give back that is gone, and the next signal that Python
    handles kills the process (openvinotoolkit/openvino#11894): tests later, when a DataLoader's worker has ended.
    """
    return openvino.Core()


def in_openvino(path: Path) -> Answer:
    # Without the hint, processors with AMX compute in bfloat16.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino_core().compile_model(str(path), "CPU", settings)
    return lambda pixels: compiled([pixels])["logits"]


def largest_difference(expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    """As the gate has it: a share of an image's spread of logits, or of the typical one where that is larger."""
    wanted, given = np.concatenate(expected), np.concatenate(found)
    spreads = np.ptp(wanted, axis=1)
    return float((np.abs(wanted - given).max(1) / np.maximum(spreads, spreads.mean())).max())


def test_logits_depend_on_the_pixels(file):
    """Else any runtime would be right."""
    logits = np.concatenate([onnxruntime(file)(pixels) for pixels in IMAGES])
    assert len(set(logits.argmax(1))) > 1
    assert np.ptp(logits, axis=0).max() > np.ptp(logits, axis=1).mean()


def test_openvino_answers_as_onnxruntime_does(file):
    ours, theirs = onnxruntime(file), in_openvino(file)
    found = largest_difference([ours(pixels) for pixels in IMAGES], [theirs(pixels) for pixels in IMAGES])
    print(f"\nOpenVINO: {found:.1e} of the spread of the logits")
    assert found <= MOST


def test_onnxruntime_web_answers_as_onnxruntime_does(file):
    if shutil.which("node") is None:
        pytest.skip("needs node on PATH")
    there = subprocess.run(
        ["node", "-e", "require('onnxruntime-web')"], cwd=WEB.parent, check=False, capture_output=True
    )
    if there.returncode:
        pytest.skip("needs onnxruntime-web: `npm install --no-save onnxruntime-web` in the repository, once")
    images = [{"shape": pixels.shape, "data": base64.b64encode(pixels).decode()} for pixels in IMAGES]
    command = ["node", str(WEB), str(file)]
    done = subprocess.run(command, input=json.dumps(images), check=True, capture_output=True, text=True, cwd=ROOT)
    logits = [np.float32(answer).reshape(-1, len(CLASSES)) for answer in json.loads(done.stdout)]
    found = largest_difference([onnxruntime(file)(pixels) for pixels in IMAGES], logits)
    print(f"\nonnxruntime-web: {found:.1e} of the spread of the logits")
    assert found <= MOST


@pytest.mark.parametrize("name", ["cnn", "resnet18"])
def test_int8_in_openvino_names_nearly_always_the_same_class(name, tmp_path):
    """It computes a layer's int8 in another order and rounds otherwise: classes that are near to each other change."""
    source = export(name, 1.0, "bilinear", tmp_path)
    quantize(source, [pictures(16, 40, 40, seed) for seed in range(100, 108)], tmp_path / "int8.onnx")
    ours, theirs, exact = onnxruntime(tmp_path / "int8.onnx"), in_openvino(tmp_path / "int8.onnx"), onnxruntime(source)
    images = [pictures(50, *size, seed=seed) for seed, size in enumerate([(32, 32), (40, 60), (20, 20), (100, 100)])]
    answers = [np.concatenate([answer(pixels) for pixels in images]) for answer in (ours, theirs, exact)]
    classes = [logits.argmax(1) for logits in answers]
    assert len(set(classes[0])) > 1
    equal, to_fp32 = (float((classes[0] == other).mean()) for other in classes[1:])
    spread = np.ptp(answers[0], axis=1).mean()
    differs = np.abs(answers[0] - answers[1]).max() / spread
    print(f"\nint8, {name}: {equal:.3f} equal classes ({to_fp32:.3f} with fp32), logits to {differs:.3f} of the spread")
    assert equal >= 0.9


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_transform_takes_the_operators_that_the_document_lists(interpolation):
    page = (ROOT / "docs/model-file.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| ([A-Z][A-Za-z]+) \|", page, re.MULTILINE))
    model = exporter._trace(
        evaluation_transform(Preprocessing(32, 0.875, (0.5,) * 3, (0.2,) * 3, interpolation)).eval(), 20
    )
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} == listed
    uint8 = {name for value in model.graph.input for name in [value.name]}
    assert {node.op_type for node in model.graph.node if uint8 & set(node.input)} == {"Cast", "Shape"}  # TensorRT
