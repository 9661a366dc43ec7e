"""The decision, as a model file's metadata hold it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lightline.model_file.decision import CONSTANTS, Decision


def read_decision(metadata: Mapping[str, str]) -> Decision:
    """Read from a model file's metadata what makes answers of its logits; one of contract 1 has the plain softmax."""
    return Decision(**json.loads(metadata.get("decision", "{}")))


def write_decision(model: Any, decision: Decision) -> None:
    """Write the constants of a decision, and what it was fitted for, into an onnx.ModelProto that has others."""
    from onnx.numpy_helper import from_array

    constants = {constant.name: constant for constant in model.graph.initializer}
    for name in CONSTANTS:
        constants[name].CopyFrom(from_array(np.array(getattr(decision, name), np.float32), name))
    kept = [entry for entry in model.metadata_props if entry.key != "decision"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key="decision", value=json.dumps(asdict(decision)))


def replace_decision(path: Path, decision: Decision) -> None:
    """Write another decision into a model file."""
    import onnx

    model = onnx.load(path)
    write_decision(model, decision)
    path.write_bytes(model.SerializeToString(deterministic=True))
