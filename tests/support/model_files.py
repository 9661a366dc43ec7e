"""Model files of the contract that take a moment to write: by what an image is like in the mean, not by a network."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("cat", "dog", "größe")
_FEATURES = 5


def write_model(path: Path, classes: Sequence[str] = CLASSES, seed: int = 0, *, embedding: bool = False) -> Path:
    """Two layers of random weights on the mean colours; embedding: whether the file gives what the last one takes."""
    random = np.random.default_rng(seed)
    weights = {
        "axes": np.array([1, 2]),
        "first": random.normal(size=(3, _FEATURES)).astype(np.float32) / 100,
        "last": random.normal(size=(_FEATURES, len(classes))).astype(np.float32),
        "classes_axis": np.array([1]),
        "threshold": np.float32(0.4),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["colours"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["colours", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "first"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "last"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities", "classes_axis"], ["confidence"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["confidence", "threshold"], ["accepted"]),
        helper.make_node("GreaterOrEqual", ["probabilities", "threshold"], ["set"]),
    ]
    each, kinds = ["batch", len(classes)], (TensorProto.FLOAT, TensorProto.BOOL)
    outputs = {
        "logits": (kinds[0], each),
        "probabilities": (kinds[0], each),
        "confidence": (kinds[0], each[:1]),
        "accepted": (kinds[1], each[:1]),
        "set": (kinds[1], each),
        **({"embedding": (kinds[0], ["batch", _FEATURES])} if embedding else {}),
    }
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
        [helper.make_tensor_value_info(name, *shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    said = {"classes": json.dumps(list(classes)), "fingerprint": "f" * 64, "contract": "2"}
    helper.set_model_props(model, said | {"preprocessing": json.dumps({"max_pixels": 10**8, "bit_depth": 16})})
    onnx.save(model, path)
    return path


def described(model_file: Path, path: Path, **changes: object) -> Path:
    """A copy of a model file that says other things of itself."""
    model = onnx.load(model_file)
    for entry in model.metadata_props:
        if entry.key in changes:
            entry.value = changes[entry.key] if isinstance(changes[entry.key], str) else json.dumps(changes[entry.key])
    onnx.save(model, path)
    return path
