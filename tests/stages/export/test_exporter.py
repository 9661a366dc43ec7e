"""The model file of the contract."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from lightline import __version__
from lightline.errors import LightlineError
from lightline.model_file.decision import CONSTANTS, Decision
from lightline.model_file.decision_metadata import read_decision
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.models.checkpoint import Checkpoint
from lightline.models.transforms import Preprocessing
from lightline_predict.classifier import Classifier
from stages.export import exporter as onnx_export
from stages.export.exporter import export_onnx
from tests.support import ROOT
from tests.support.samples import CLASSES, make_checkpoint, model_settings, random_pixels

NETWORKS: dict[str, dict[str, Any]] = {
    "cnn": {"crop_pct": 0.9},
    "resnet18": {"input_size": 16},
    "timm/test_vit": {"input_size": 32},
}


@pytest.fixture(params=NETWORKS)
def pair(request: pytest.FixtureRequest, exported) -> tuple[Checkpoint, Path]:
    return exported(request.param, **NETWORKS[request.param])


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_inputs_and_outputs_are_the_contract_s(pair):
    graph = onnx.load(pair[1]).graph
    assert [value.name for value in graph.input] == ["image"]
    assert [value.name for value in graph.output] == ["logits", "probabilities", "confidence", "accepted", "set"]
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    *free, channels = shape(graph.input[0])
    assert channels == 3
    assert len(set(free)) == 3  # named, and each free of the others
    assert all(isinstance(name, str) for name in free)
    for output in graph.output:
        is_bool = output.name in ("accepted", "set")
        assert output.type.tensor_type.elem_type == (onnx.TensorProto.BOOL if is_bool else onnx.TensorProto.FLOAT)
        assert shape(output) == [free[0], *([] if output.name in ("confidence", "accepted") else [len(CLASSES)])]


SHAPES = [(1, 1, 1), (1, 480, 640), (2, 5, 90), (2, 131, 64), (17, 16, 16), (17, 32, 32), (9, 20, 57)]


def test_it_answers_as_torch_does_at_any_size_and_batch(pair):
    checkpoint, path = pair
    model = Classifier(path, num_threads=1)
    reference = PixelClassifier(checkpoint.network(), checkpoint.preprocessing).eval()
    for seed, (batch, height, width) in enumerate(SHAPES):
        pixels = random_pixels(batch, height, width, 3, seed=seed)
        with torch.inference_mode():
            expected = [output.numpy() for output in reference(torch.from_numpy(pixels))]
        logits, probabilities = model.predict(pixels)
        assert np.allclose(logits, expected[0], rtol=1e-3, atol=1e-5), (batch, height, width)
        assert np.allclose(probabilities, expected[1], rtol=1e-3, atol=1e-6), (batch, height, width)
        assert np.allclose(probabilities.sum(1), 1, atol=1e-5)


def test_it_is_one_file_that_knows_nothing_of_this_machine(pair):
    _, path = pair
    content = path.read_bytes()
    for trace in (str(ROOT), str(Path.home()), str(Path(sys.prefix)), "site-packages", "stack_trace"):
        assert trace.encode() not in content
    assert not re.search(rb"\w{3}\.py\b", content)  # three bytes alone may stand among a million weights
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        assert tensor.data_location == onnx.TensorProto.DEFAULT
    assert {file.name for file in path.parent.iterdir()} == {"best.ckpt", "model.onnx"}


def test_it_says_what_it_is(exported):
    checkpoint, path = exported("cnn", **NETWORKS["cnn"])
    metadata = Classifier(path).metadata
    assert json.loads(metadata.pop("classes")) == list(CLASSES)
    assert json.loads(metadata.pop("preprocessing")) == json.loads(json.dumps(asdict(checkpoint.preprocessing))) | {
        "max_pixels": 10**8,
        "bit_depth": 16,
    }
    assert json.loads(metadata.pop("metrics")) == {"accuracy": 0.75}
    assert json.loads(metadata.pop("params")) == checkpoint.params
    assert json.loads(metadata.pop("decision")) == asdict(Decision())
    assert metadata == {"fingerprint": "f" * 64, "dataset": "d" * 64, "lightline": __version__, "contract": "2"}


@pytest.mark.parametrize("views", ["none", "mirror_and_shift"])
def test_it_answers_as_its_decision_says_and_gives_what_the_last_layer_takes(views, exported, tmp_path):
    checkpoint, plain = exported("cnn", crop_pct=0.9, test_time_augmentation=views)
    pixels = random_pixels(40, 20, 31, 3)
    logits = Classifier(plain).predict(pixels)[0]
    decision = Decision(temperature=0.02, target_risk=0.1, confidence=0.9, coverage=0.8, images=7)
    shares = decision.answers(logits).probabilities
    decision = replace(decision, threshold=float(np.median(shares.max(1))), set_threshold=float(np.median(shares)))
    export_onnx(checkpoint, {}, 20, tmp_path / "model.onnx", decision=decision, embedding=True)
    model = Classifier(tmp_path / "model.onnx", num_threads=1)
    assert read_decision(model.metadata) == decision
    given = model.outputs(pixels)
    assert np.allclose(given["logits"], logits, atol=1e-6)
    expected = decision.answers(given["logits"])
    for name in ("probabilities", "confidence"):
        np.testing.assert_allclose(given[name], getattr(expected, name), atol=1e-6)
    for name in ("accepted", "set"):
        np.testing.assert_array_equal(given[name], getattr(expected, name))
        assert 0 < given[name].mean() < 1
    head = checkpoint.state_dict["classes.weight"].numpy()
    from_embedding = given["embedding"] @ head.T + checkpoint.state_dict["classes.bias"].numpy()
    if views == "none":
        np.testing.assert_allclose(from_embedding, given["logits"], atol=1e-5)
    assert given["embedding"].shape == (40, head.shape[1])


def test_a_constant_of_the_decision_serves_nothing_else(pair):
    graph = onnx.load(pair[1]).graph
    for name in CONSTANTS:
        assert sum(name in node.input for node in graph.node) == 1


def test_a_map_s_embedding_is_its_mean(exported, tmp_path):
    checkpoint = make_checkpoint(model_settings("squeezenet1_1", input_size=32))
    export_onnx(checkpoint, {}, 20, tmp_path / "model.onnx", embedding=True)
    given = Classifier(tmp_path / "model.onnx").outputs(random_pixels(2, 33, 40, 3))
    assert given["embedding"].shape == (2, 512)


EXPORT = """
import sys
from pathlib import Path
from lightline.models.checkpoint import load_checkpoint
from stages.export.exporter import export_onnx
export_onnx(load_checkpoint(Path(sys.argv[1])), {"accuracy": 0.75}, 20, Path("another name.onnx"))
"""


def test_another_process_in_another_folder_writes_the_same_bytes(exported, tmp_path, monkeypatch):
    _, path = exported("cnn", **NETWORKS["cnn"])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    subprocess.run([sys.executable, "-c", EXPORT, str(path.parent / "best.ckpt")], cwd=tmp_path, check=True)
    assert (tmp_path / "another name.onnx").read_bytes() == path.read_bytes()
    assert len(list(tmp_path.iterdir())) == 1


def test_it_has_the_opset_that_was_asked_for(exported, tmp_path):
    checkpoint, path = exported("cnn", **NETWORKS["cnn"])
    export_onnx(checkpoint, {}, 24, tmp_path / "model.onnx")  # the newest that parameters may ask for
    for file, opset in ((path, 20), (tmp_path / "model.onnx", 24)):
        assert {entry.domain: entry.version for entry in onnx.load(file).opset_import}[""] == opset
    pixels = random_pixels(3, 20, 31, 3)
    answers = [Classifier(file).predict(pixels)[0] for file in (path, tmp_path / "model.onnx")]
    assert np.allclose(*answers, atol=1e-5)


class Undecided(nn.Module):
    """What cannot be exported: the way through it depends on the values."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.mean((2, 3)) if inputs.mean() > 0 else inputs.amax((2, 3))


def test_a_network_that_onnx_cannot_hold_is_an_error_in_words(exported, tmp_path, monkeypatch):
    checkpoint, _ = exported("cnn", **NETWORKS["cnn"])
    monkeypatch.setattr(Checkpoint, "network", lambda checkpoint: Undecided())
    with pytest.raises(LightlineError, match=r"^torch cannot export this network to ONNX with export\.opset = 20: \S"):
        export_onnx(checkpoint, {}, 20, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_too_large_for_one_file_is_an_error_in_words(exported, tmp_path, monkeypatch):
    checkpoint, path = exported("cnn", **NETWORKS["cnn"])
    monkeypatch.setattr(onnx_export, "_LARGEST", path.stat().st_size - 1)
    monkeypatch.setattr(onnx_export, "_trace", lambda *_: onnx.load(path))
    with pytest.raises(LightlineError, match="one ONNX file holds at most"):
        export_onnx(replace(checkpoint), {"accuracy": 0.75}, 20, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def pixels_of() -> tuple[PixelClassifier, onnxruntime.InferenceSession]:
    """What a network of 224 pixels sees, in levels, as its "logits": in torch, and from the model file."""
    model = PixelClassifier(nn.Flatten(), Preprocessing(224, 0.875, (0.0,) * 3, (1 / 255,) * 3)).eval()
    return model, onnxruntime.InferenceSession(onnx_export._trace(model, 20, model.outputs).SerializeToString())


@pytest.mark.parametrize("size", [(240, 320), (112, 150), (56, 56), (100, 75), (199, 201)])
def test_enlarged_images_have_the_same_pixels_in_torch_and_in_the_file(pixels_of, size):
    """At common sizes thousands of pixels lie halfway between two levels, where the last digit must decide nothing."""
    model, session = pixels_of
    slope = np.indices(size).sum(0)[..., None] + np.arange(3) * 40  # as smooth as photos are
    image = (slope % 200 + random_pixels(*size, 3) // 16).astype(np.uint8)[None]
    with torch.inference_mode():
        expected = model(torch.from_numpy(image))[0].numpy()
    found = session.run(["logits"], {"image": image})[0]
    assert np.abs(found - expected).max() < 0.25  # where one rounded otherwise, it would be 1
