"""The int8 file: the contract of the fp32 file, 8-bit numbers inside, equal bytes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from lightline.model_file.decision import Decision
from lightline.model_file.decision_metadata import read_decision, replace_decision
from lightline.models.checkpoint import Checkpoint
from lightline_predict.classifier import Classifier
from stages.export.exporter import export_onnx
from stages.quantize.int8 import QuantizationError, quantize
from tests.support import ROOT
from tests.support.samples import CLASSES, random_pixels

NETWORKS = {"cnn": {"crop_pct": 0.9}, "resnet18": {"input_size": 16}, "timm/test_vit": {"input_size": 32}}
SHAPES = [(1, 1, 1), (1, 480, 640), (2, 5, 90), (17, 16, 16), (9, 20, 57)]


def pictures(batch: int, height: int, width: int, seed: int) -> np.ndarray:
    """Noise on colours that differ from image to image, so that answers do too."""
    colours = random_pixels(batch, 1, 1, 3, seed=seed).astype(int)
    noise = random_pixels(batch, height, width, 3, seed=seed) % 64
    return np.clip(colours + noise - 32, 0, 255).astype(np.uint8)


def calibration_images() -> list[np.ndarray]:
    """Stacks of any size."""
    return [pictures(16, 20 + seed, 31, seed) for seed in range(6)]


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request: pytest.FixtureRequest, exported, tmp_path_factory) -> tuple[Path, Path]:
    """The fp32 and the int8 file."""
    source = exported(request.param, **NETWORKS[request.param])[1]
    path = tmp_path_factory.mktemp("int8") / "model.int8.onnx"
    quantize(source, calibration_images(), path)
    return source, path


def described(values) -> list[tuple]:
    tensors = [(value.name, value.type.tensor_type) for value in values]
    return [
        (name, tensor.elem_type, [dim.dim_param or dim.dim_value for dim in tensor.shape.dim])
        for name, tensor in tensors
    ]


def test_inputs_outputs_and_metadata_are_the_fp32_file_s(pair):
    before, after = (onnx.load(path) for path in pair)
    assert described(after.graph.input) == described(before.graph.input)
    assert described(after.graph.output) == described(before.graph.output)
    assert [(entry.key, entry.value) for entry in after.metadata_props] == [
        (entry.key, entry.value) for entry in before.metadata_props
    ]
    assert [(entry.domain, entry.version) for entry in after.opset_import] == [("", 20)]
    assert Classifier(pair[1]).classes == list(CLASSES)


def test_it_answers_nearly_as_fp32_does_at_any_size_and_batch(pair):
    fp32, int8 = (Classifier(path, num_threads=1) for path in pair)
    answers = [[], []]
    for seed, shape in enumerate(SHAPES):
        pixels = pictures(*shape, 100 + seed)
        (expected, _), (logits, probabilities) = fp32.predict(pixels), int8.predict(pixels)
        assert logits.shape == probabilities.shape == (shape[0], len(CLASSES))
        assert logits.dtype == probabilities.dtype == np.float32
        assert np.allclose(probabilities, torch.tensor(logits).softmax(1), atol=1e-6)
        answers[0].append(expected)
        answers[1].append(logits)
    expected, logits = (np.concatenate(part) for part in answers)
    # Rounding may cost a part of what sets images apart, never most of it.
    if "vit" not in pair[0].parent.name:  # an untrained transformer hardly tells them apart to begin with
        assert np.sqrt(((logits - expected) ** 2).mean()) < 0.25 * (expected - expected.mean(0)).std()


def test_layers_are_int8_per_channel_and_what_surrounds_them_is_fp32(pair):
    before, after = (onnx.load(path).graph for path in pair)
    constants = {constant.name: numpy_helper.to_array(constant) for constant in after.initializer}
    makers = {output: node for node in after.node for output in node.output}
    layers = [node for node in after.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert len(layers) == sum(node.op_type in ("Conv", "Gemm", "MatMul") for node in before.node)
    weights = [makers[name] for layer in layers for name in layer.input[1:2]]
    values = [constants[node.input[0]] for node in weights if node.input[0] in constants]
    assert {value.dtype for value in values} == {np.dtype(np.int8)}
    # 255 × 64 × 2 fits into 16 bits, in which processors without VNNI add two products.
    assert max(np.abs(value.astype(int)).max() for value in values) <= 64
    assert all(constants[node.input[1]].size > 1 for node in weights if node.input[0] in constants)
    rounded = [node for node in after.node if node.op_type == "QuantizeLinear"]
    assert {constants[node.input[2]].dtype for node in rounded} == {np.dtype(np.uint8)}
    assert makers["logits"].op_type not in ("QuantizeLinear", "DequantizeLinear")
    assert makers[makers["probabilities"].input[0]].input == ["logits", "temperature"]
    (normalised,) = [node for node in after.node if "transform.1.std" in node.input]
    above = kinds_above(makers, normalised)
    assert {"Sub", "MatMul", "Cast", "Transpose", "Slice"} <= above
    assert not {"QuantizeLinear", "DequantizeLinear"} & above


def kinds_above(makers: dict[str, onnx.NodeProto], node: onnx.NodeProto) -> set[str]:
    """The operators on which a node depends."""
    waiting, found = list(node.input), set()
    while waiting:
        above = makers.get(waiting.pop())
        if above is not None:
            found.add(above.op_type)
            waiting += above.input
    return found


def test_a_layer_that_sees_several_views_has_its_weights_once(exported, tmp_path):
    blocks = {"widths": [8, 64, 64], "depths": [2, 2, 3]}
    source = exported("airbench", test_time_augmentation="mirror_and_shift", **blocks)[1]
    quantize(source, calibration_images(), tmp_path / "int8.onnx")
    before, after = (num_weights(path) for path in (source, tmp_path / "int8.onnx"))
    assert 0.99 * before < after <= before  # constants of the shifting views are none of the layers'


def num_weights(path: Path) -> int:
    constants = onnx.load(path).graph.initializer
    return sum(int(np.prod(constant.dims)) for constant in constants if len(constant.dims) > 1)


QUANTIZE = """
import sys
from pathlib import Path
from stages.quantize.int8 import quantize
from tests.stages.quantize.test_int8 import calibration_images
quantize(Path(sys.argv[1]), calibration_images(), Path("another name.onnx"))
"""


def test_another_process_in_another_folder_writes_the_same_bytes_which_know_no_machine(pair, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    subprocess.run([sys.executable, "-c", QUANTIZE, str(pair[0])], cwd=tmp_path, check=True)
    content = pair[1].read_bytes()
    assert (tmp_path / "another name.onnx").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1
    for trace in (str(ROOT), str(Path.home()), str(Path(sys.prefix)), "site-packages", ".py", "/tmp", "quantized.onnx"):
        assert trace.encode() not in content
    assert all(tensor.data_location == TensorProto.DEFAULT for tensor in onnx.load(pair[1]).graph.initializer)


def export(network: nn.Module, checkpoint: Checkpoint, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Checkpoint, "network", lambda checkpoint: network)
    export_onnx(checkpoint, {"accuracy": 0.75}, 20, path)
    return path


class Mean(nn.Module):
    """A network without layers: three classes from three colours."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.mean((2, 3))


def test_a_network_without_layers_is_refused_in_words(exported, tmp_path, monkeypatch):
    source = export(Mean(), exported("cnn", crop_pct=0.9)[0], tmp_path / "model.onnx", monkeypatch)
    with pytest.raises(QuantizationError, match=r"no convolution and no dense layer .* exports fp32 alone\.$"):
        quantize(source, calibration_images(), tmp_path / "model.int8.onnx")
    assert list(tmp_path.iterdir()) == [source]


def test_a_network_that_int8_makes_no_smaller_is_refused_in_words(exported, tmp_path, monkeypatch):
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Mean())
    source = export(network, exported("cnn", crop_pct=0.9)[0], tmp_path / "model.onnx", monkeypatch)
    said = rf"With int8 the model file would have \d+ bytes, and with fp32 it has {source.stat().st_size}\."
    with pytest.raises(QuantizationError, match=said):
        quantize(source, calibration_images(), tmp_path / "model.int8.onnx")
    assert list(tmp_path.iterdir()) == [source]


def test_what_onnxruntime_cannot_quantise_is_told_in_words(exported, tmp_path):
    source = exported("cnn", crop_pct=0.9)[1]
    with pytest.raises(QuantizationError, match=r"^onnxruntime cannot quantise this network to int8: \S.*alone\.$"):
        quantize(source, [], tmp_path / "model.int8.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_embedding_and_the_constants_of_a_decision_come_through(exported, tmp_path):
    checkpoint, _ = exported("cnn", crop_pct=0.9)
    decision = Decision(temperature=0.5, threshold=0.4, set_threshold=0.3)
    export_onnx(checkpoint, {}, 20, tmp_path / "fp32.onnx", decision=decision, embedding=True)
    quantize(tmp_path / "fp32.onnx", calibration_images(), tmp_path / "int8.onnx")
    other = Decision(temperature=0.02, threshold=0.6, set_threshold=0.1, images=9)
    replace_decision(tmp_path / "int8.onnx", other)
    fp32, int8 = (Classifier(tmp_path / f"{name}.onnx", num_threads=1) for name in ("fp32", "int8"))
    assert (read_decision(fp32.metadata), read_decision(int8.metadata)) == (decision, other)
    pixels = pictures(8, 24, 30, seed=1)
    before, after = fp32.outputs(pixels), int8.outputs(pixels)
    assert list(before) == list(after) == ["logits", "probabilities", "confidence", "accepted", "set", "embedding"]
    for name in ("accepted", "set"):
        np.testing.assert_array_equal(after[name], getattr(other.answers(after["logits"]), name))
    spread = np.abs(before["embedding"]).mean()
    assert np.abs(before["embedding"] - after["embedding"]).mean() < 0.3 * spread
