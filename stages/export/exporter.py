"""A trained network and its evaluation transform as one ONNX file, from raw pixels to answers."""

import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path

import onnx
import torch
from torch import nn

from lightline import __version__
from lightline.errors import LightlineError
from lightline.model_file.decision import Decision
from lightline.model_file.decision_metadata import write_decision
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.models.checkpoint import Checkpoint
from lightline_predict.classifier import CONTRACT
from lightline_predict.images import Reading
from stages.export.portability import check_portable

INPUT = "image"
_LARGEST = 2**31 - 1  # bytes of one protobuf message
# Sizes to trace with: no two alike and none the network's, so that nothing is taken for a constant.
_EXAMPLE_SHAPE = (2, 37, 53, 3)
# Constants to trace with, numbers that nothing else has: equal ones the exporter makes one, and a division by 1 none.
_ANY = Decision(temperature=2.718281, threshold=0.577215, set_threshold=0.267949)


def export_onnx(
    checkpoint: Checkpoint,
    metrics: dict[str, object],
    opset: int,
    path: Path,
    reading: Reading | None = None,
    *,
    decision: Decision | None = None,
    embedding: bool = False,
    reference: str | None = None,
) -> None:
    """Write the model file of the contract: one file, equal bytes for equal checkpoints.

    metrics: of the test split, for metadata_props. reading: how image files become the pixels that it takes. decision:
    what makes answers of logits; None: the plain softmax, all accepted. embedding: give what the last layer takes, too.
    reference: digest of what `test` says of its images, to compare later ones with.

    Raises:
        LightlineError: the network has an operation that ONNX has not, or the file would pass 2 GiB.
        PortabilityError: the file would depend on more than itself and ONNX.
    """
    classifier = PixelClassifier(checkpoint.network(), checkpoint.preprocessing, _ANY, embedding).eval()
    model = _trace(classifier, opset, classifier.outputs)
    check_portable(model)
    _forget_machine(model)
    write_decision(model, decision or Decision())
    known = {} if reference is None else {"reference": reference}
    for key, value in (_metadata(checkpoint, metrics, reading or Reading()) | known).items():
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString(deterministic=True)
    if len(content) > _LARGEST:
        raise LightlineError(f"The model has {len(content)} bytes; one ONNX file holds at most {_LARGEST}.")
    path.write_bytes(content)
    onnx.checker.check_model(str(path), full_check=True)


def _trace(model: nn.Module, opset: int, outputs: list[str] | None = None) -> onnx.ModelProto:
    # The exporter tells of its progress and of upstream's plans; a failure is told below.
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    batch, height, width = (torch.export.Dim(name, min=1) for name in ("batch", "height", "width"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (torch.zeros(_EXAMPLE_SHAPE, dtype=torch.uint8),),
                dynamo=True,
                input_names=[INPUT],
                output_names=outputs,
                dynamic_shapes=({0: batch, 1: height, 2: width},),
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        cause: BaseException = error  # torch's own words are about exporting; the first cause tells what it was
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(". ")
        raise LightlineError(
            f"torch cannot export this network to ONNX with export.opset = {opset}: {reason}. Choose another "
            "model.name or export.opset, or write that part of the network in other operations."
        ) from error
    assert program is not None
    return program.model_proto


def _forget_machine(model: onnx.ModelProto) -> None:
    """Delete the absolute paths and stack traces that the exporter notes: then all machines make the same bytes."""
    for part in (model.graph, *model.functions):
        for node in part.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
        for value in (*part.value_info, *getattr(part, "input", []), *getattr(part, "output", [])):
            if isinstance(value, onnx.ValueInfoProto):
                value.ClearField("metadata_props")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    model.ClearField("doc_string")
    del model.metadata_props[:]


def _metadata(checkpoint: Checkpoint, metrics: dict[str, object], reading: Reading) -> dict[str, str]:
    return {
        "classes": json.dumps(checkpoint.classes, ensure_ascii=False),
        "fingerprint": checkpoint.fingerprint,
        "preprocessing": json.dumps(asdict(checkpoint.preprocessing) | asdict(reading)),
        "metrics": json.dumps(metrics),
        "params": json.dumps(checkpoint.params, ensure_ascii=False),
        "dataset": checkpoint.dataset,
        "lightline": __version__,
        "contract": str(CONTRACT),
    }
