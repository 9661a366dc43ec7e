"""The Open Inference Protocol, version 2 (github.com/kserve/open-inference-protocol): tensors in JSON.

Beside JSON, an input may lie behind it as plain bytes, as Triton's and KServe's clients send it ("binary_data").
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightline_predict.batching.items import printable
from lightline_predict.serve.batching import Outputs
from lightline_predict.serve.bodies import read_json
from lightline_predict.serve.limits import Refused
from lightline_predict.serve.models import Loaded
from lightline_predict.serve.options import Limits

_TYPES = {"float32": "FP32", "bool": "BOOL", "int64": "INT64", "uint8": "UINT8"}
_LENGTH = re.compile(r"[0-9]{1,10}")
_IMAGE = 'one input "image" of datatype UINT8 and shape [batch, height, width, 3]'


@dataclass(frozen=True)
class Asked:
    """An infer request: pixels uint8 [batch, height, width, 3], its id, and the outputs it wants; None: all."""

    pixels: np.ndarray
    id: str | None
    outputs: list[str] | None


def metadata(name: str, model: Loaded) -> dict[str, Any]:
    """Describe the model: its name, version, inputs and outputs."""
    return {
        "name": name,
        "versions": [model.fingerprint],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
        "outputs": [
            {"name": output, "datatype": _datatype(kind), "shape": [-1, *shape]}
            for output, (kind, shape) in model.outputs.items()
        ],
    }


def read(body: bytes, json_length: str | None, limits: Limits, known: Collection[str]) -> Asked:
    """Read an infer request.

    json_length: the header Inference-Header-Content-Length, where bytes follow the JSON. known: the model's outputs.

    Raises:
        Refused: 400 or 413, with what is wrong.
    """
    if json_length is not None and not (_LENGTH.fullmatch(json_length) and int(json_length) <= len(body)):
        raise Refused(400, "Inference-Header-Content-Length is no length within the body.")
    length = len(body) if json_length is None else int(json_length)
    said = read_json(body[:length])
    try:
        (given,) = said["inputs"]
        named, shape = (given["name"], given["datatype"]), given["shape"]
        outputs = None if not said.get("outputs") else [str(output["name"]) for output in said["outputs"]]
        parameters = dict(given.get("parameters") or {})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Refused(400, f"An infer request has {_IMAGE}.") from None
    if named != ("image", "UINT8") or not _is_shape(shape):
        raise Refused(400, f"An infer request has {_IMAGE}; this one's is {str(named)[:100]} {str(shape)[:100]}.")
    if unknown := [output for output in outputs or () if output not in known]:
        raise Refused(400, f"There is no output {unknown[0][:100]!r}; there are {', '.join(known)}.")
    if shape[0] > limits.images:
        raise Refused(413, f"{shape[0]} images are more than {limits.images} (--max-images).")
    if shape[1] * shape[2] > limits.pixels:
        raise Refused(413, f"{shape[1]}×{shape[2]} pixels are more than {limits.pixels} (--max-pixels).")
    if "binary_data_size" in parameters:
        pixels = np.frombuffer(body, np.uint8, offset=length)
    else:
        pixels = _numbers(given.get("data"))
    if pixels.size != math.prod(shape):
        raise Refused(400, f"The data has {pixels.size} values; the shape {shape} takes {math.prod(shape)}.")
    request_id = None if said.get("id") is None else printable(str(said["id"]))
    return Asked(pixels.reshape(shape), request_id, outputs and [*dict.fromkeys(outputs)])


def answer(name: str, model: Loaded, asked: Asked, given: list[Outputs]) -> dict[str, Any]:
    """Make the answer to an infer request."""
    wanted = list(model.outputs) if asked.outputs is None else asked.outputs
    outputs = []
    for output in wanted:
        rows = np.stack([one[output] for one in given])
        outputs.append(
            {
                "name": output,
                "datatype": _datatype(rows.dtype),
                "shape": list(rows.shape),
                "data": rows.ravel().tolist(),
            }
        )
    said = {"model_name": name, "model_version": model.fingerprint, "outputs": outputs}
    return said if asked.id is None else said | {"id": asked.id}


def _is_shape(shape: Any) -> bool:
    sizes = isinstance(shape, list) and len(shape) == 4 and all(type(size) is int and size > 0 for size in shape)
    return sizes and shape[3] == 3


def _numbers(data: Any) -> np.ndarray:
    try:
        values = np.array(data)
    except (ValueError, OverflowError, RecursionError):
        values = np.array(None)
    # bool counts as no number here, and what is rounded would be another image.
    if values.dtype.kind not in "iu" or values.size == 0 or values.min() < 0 or values.max() > 255:
        raise Refused(400, "The data of an input UINT8 is a list of whole numbers from 0 to 255.")
    return values.astype(np.uint8).ravel()


def _datatype(kind: np.dtype) -> str:
    return _TYPES.get(kind.name, kind.name.upper())
