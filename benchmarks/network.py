"""Take one network through the project: build, two batches, export, gate, int8, and what OpenVINO answers.

python -m benchmarks.network NAME INPUT_SIZE ANSWER.json
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import nn

from benchmarks.settings import composed
from lightline.config.params import Params
from lightline.data.dataset import Dataset, Row, pixel_stacks, write_dataset
from lightline.errors import LightlineError
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.models.build import build_network, head_names
from lightline.models.checkpoint import Checkpoint
from lightline.models.transforms import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from lightline_predict import images
from lightline_predict.classifier import Classifier
from stages.export.exporter import export_onnx
from stages.export.parity import TORCH, Differences, check_parity, typical_spread
from stages.quantize.int8 import quantize

_CLASSES = [f"class {number}" for number in range(10)]
_SHAPE = (180, 240, 3)  # of the images: not square, and not every network's size
_NUM_IMAGES, _BATCH = 24, 4
_SIZES = ((180, 240), (90, 130), (37, 53), (400, 300))  # of images that OpenVINO is asked about


def main() -> None:
    """Write what was found after each step, so that a crash or the end of the time leaves what came before it."""
    name, size, answer = sys.argv[1:4]
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            _take_through(name, int(size), found, lambda: Path(answer).write_text(json.dumps(found)))
        except Exception as error:
            found["failed"] = f"{found.pop('step')}: {_sentence(error)}"
            Path(answer).write_text(json.dumps(found))


def _take_through(name: str, size: int, found: dict[str, Any], note: Callable[[], object]) -> None:
    """Fill what is found in; `step` is what is being done, until all is."""

    def begin(step: str) -> None:
        found["step"] = step
        note()

    begin("build")
    torch.manual_seed(0)
    overrides = (f"model.name={name}", f"model.input_size={size}", "model.crop_pct=1.0", "model.stem=standard")
    params = composed("model=resnet18", "hardware=cpu", *overrides)
    network = build_network(params.model, len(_CLASSES))
    found["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    preprocessing = Preprocessing(size, 1.0, IMAGENET_MEAN, IMAGENET_STD)
    model, dataset = PixelClassifier(network, preprocessing), _photos()
    begin("two batches")
    found["first_loss"], found["last_loss"] = _train(model, dataset)
    if abs(found["first_loss"] - math.log(len(_CLASSES))) > 0.05:
        raise LightlineError(f"the first loss is {found['first_loss']:.3f}, not ln {len(_CLASSES)}")
    test = np.arange(0, _NUM_IMAGES, 2)
    _spread_out(model, dataset, np.arange(_NUM_IMAGES))
    begin("export")
    checkpoint = Checkpoint(
        "f" * 64, dataset.digest, _CLASSES, {"model": params.model.model_dump(mode="json")}, preprocessing, 1, {},
        network.state_dict(),
    )  # fmt: skip
    fp32, int8, started = Path("model.onnx"), Path("model.int8.onnx"), time.perf_counter()
    export_onnx(checkpoint, {}, params.export.opset, fp32)
    found |= {"export_seconds": time.perf_counter() - started, "bytes": fp32.stat().st_size}
    begin("gate")
    file = Classifier(fp32, torch.get_num_threads())
    exact, found["gate"] = _gate(file, model.eval(), dataset, test, params)
    begin("OpenVINO")
    found["openvino"] = _compare_openvino(fp32, file, dataset)
    begin("int8")
    try:
        quantize(fp32, pixel_stacks(dataset, test + 1, _BATCH), int8)
    except LightlineError as error:
        found["int8_failed"] = _sentence(error)
    else:
        rounded = _classes(Classifier(int8, torch.get_num_threads()).predict, dataset, test)
        found["int8"] = float((rounded == exact.argmax(1)).mean())
        found["int8_bytes"] = int8.stat().st_size
        begin("int8 in OpenVINO")
        found["openvino_int8"] = float((_classes(_openvino(int8), dataset, test) == rounded).mean())
    del found["step"]
    note()


def _photos() -> Dataset:
    """Cut small photos out of the two large ones that come with scikit-learn, each at another place."""
    from sklearn.datasets import load_sample_images

    large, draw = load_sample_images().images, np.random.default_rng(0)
    rows = []
    for number in range(_NUM_IMAGES):
        picture = large[number % len(large)]
        top, left = (int(draw.integers(0, picture.shape[axis] - _SHAPE[axis])) for axis in (0, 1))
        pixels = np.ascontiguousarray(picture[top : top + _SHAPE[0], left : left + _SHAPE[1]])
        label = _CLASSES[number % len(_CLASSES)]
        rows.append(Row(f"{number:02d}", images.encode(pixels), label, *_SHAPE[:2], images.pixel_digest(pixels)))
    write_dataset(rows, _CLASSES, Path("dataset"))
    return Dataset(Path("dataset"))


def _train(model: PixelClassifier, dataset: Dataset) -> list[float]:
    """Take two steps; gives the loss before and after them, of a batch that both see."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # then the statistics are the means of what it has seen, not of where it started
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    rows = np.arange(_BATCH)
    pixels = torch.from_numpy(np.stack([dataset.pixels(int(row)) for row in rows]))
    losses = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(model(pixels)[0], torch.from_numpy(dataset.labels[rows]).long())
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if not np.isfinite(losses).all():
        raise LightlineError(f"the losses are {losses}")
    return losses


@torch.inference_mode()
def _spread_out(model: PixelClassifier, dataset: Dataset, rows: np.ndarray) -> None:
    """Make the head name different classes, as a trained one does: each logit with mean 0 and deviation 1 over photos.

    A network of random weights has nearly the same features for every photo, and all classes of it would be equal.
    """
    logits = _logits(lambda pixels: [part.numpy() for part in model.eval()(torch.from_numpy(pixels))], dataset, rows)
    mean, std = torch.from_numpy(logits.mean(0)), torch.from_numpy(logits.std(0))
    for name in head_names(model.network):
        head = model.network.get_submodule(name)
        if isinstance(head, nn.Linear) and head.bias is not None:
            head.weight.data.div_(std[:, None])
            head.bias.data.sub_(mean).div_(std)


def _gate(
    file: Classifier, reference: nn.Module, dataset: Dataset, rows: np.ndarray, params: Params
) -> tuple[np.ndarray, float]:
    """Ask as the stage does; gives the file's logits and the largest difference as a share of the spread."""
    expected = _logits(_in_torch(reference), dataset, rows)
    settings = params.export
    differences = Differences(TORCH, "export.rtol", settings.rtol, settings.atol, typical_spread(expected), _CLASSES)
    logits = check_parity(file, reference, dataset, rows, differences)
    return logits, differences.used * settings.rtol


_Predict = Callable[[np.ndarray], Any]  # uint8 [batch, height, width, 3] → logits, probabilities


def _in_torch(model: nn.Module) -> _Predict:
    @torch.inference_mode()
    def predict(pixels: np.ndarray) -> list[np.ndarray]:
        return [part.numpy() for part in model(torch.from_numpy(pixels))]

    return predict


def _logits(predict: _Predict, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([predict(stack)[0] for stack in pixel_stacks(dataset, rows, _BATCH)])


def _classes(predict: _Predict, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    return _logits(predict, dataset, rows).argmax(1)


def _openvino(path: Path) -> _Predict:
    # On processors with AMX it would compute in bfloat16.
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = _openvino_core().compile_model(path, "CPU", hints)
    return lambda pixels: [compiled([pixels])[name] for name in ("logits", "probabilities")]


@cache
def _openvino_core() -> Any:
    """Give the one of this process, see tests/stages/export/test_runtimes.py."""
    import openvino

    return openvino.Core()


def _compare_openvino(path: Path, file: Classifier, dataset: Dataset) -> float:
    """Give OpenVINO's largest difference to onnxruntime as a share of the typical spread of an image's logits."""
    predict, largest, spreads = _openvino(path), 0.0, []
    for height, width in _SIZES:
        stack = np.stack([dataset.pixels(row) for row in range(2)])
        y, x = np.arange(height) * _SHAPE[0] // height, np.arange(width) * _SHAPE[1] // width
        pixels = np.ascontiguousarray(stack[:, y][:, :, x])
        expected = file.predict(pixels)[0]
        largest = max(largest, float(np.abs(expected - predict(pixels)[0]).max()))
        spreads.append(typical_spread(expected))
    return largest / float(np.mean(spreads))


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, LightlineError) else f"{type(error).__name__}: {text[:300]}"


if __name__ == "__main__":
    main()
