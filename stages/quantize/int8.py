"""A model file of the contract with 8-bit numbers: uint8 between the layers, int8 weights of 7 bits per channel (QDQ).

What comes before the network (crop, resize, normalise) and what is made of the logits stay in fp32. Equal files and
images make equal bytes.
"""

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from lightline.errors import LightlineError, no_room_code

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_PREPROCESSING = "transform."  # how the names of normalisation's constants begin, see `PixelClassifier`
_HINT = "`-S export.quantize=[]` exports fp32 alone."


class QuantizationError(LightlineError):
    """There is no int8 file of this model that could be let out."""


def quantize(source: Path, images: Iterable[np.ndarray], path: Path) -> None:
    """Write the int8 file of a model file.

    images: uint8 [batch, height, width, 3] each, of any batch and size; they decide the ranges of the numbers.

    Raises:
        QuantizationError: onnxruntime cannot quantise this network, or the file would gain nothing.
    """
    original = onnx.load(source)
    with tempfile.TemporaryDirectory() as folder:
        network, prepared, quantized = (Path(folder, f"{name}.onnx") for name in ("network", "prepared", "quantized"))
        answers = _take_answers_off(onnx.load(source), network)
        # onnxruntime warns, of what lies inside it, in the root logger.
        logging.disable(logging.WARNING)
        try:
            # Symbolic shapes do not get past a slice whose bounds depend on the image's size, and need not.
            quant_pre_process(network, prepared, skip_symbolic_shape=True)
            _share_equal_weights(prepared)
            quantize_static(
                prepared,
                quantized,
                _Reader(images),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                # 7 bits of the weights: without VNNI, sums of two products of 8 bits overflow the processor's 16, and
                # the file would answer otherwise there. onnxruntime, "Quantize ONNX models", on U8S8. (Its session
                # option x64quantprecision, which means to mend it on loading, fails on transformers.)
                reduce_range=True,
                nodes_to_exclude=_kept_exact(onnx.load(prepared).graph),
            )
        # onnxruntime refuses what it does not know with exceptions of any class.
        except Exception as error:
            if (code := no_room_code(error, Path(folder))) is not None:
                raise OSError(code, os.strerror(code)) from error  # what is left of it is told by who writes the file
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise QuantizationError(f"onnxruntime cannot quantise this network to int8: {reason}. {_HINT}") from error
        finally:
            logging.disable(logging.NOTSET)
        model = onnx.load(quantized)
    _return_exact_logits(model.graph)
    _put_answers_back(answers, model.graph)
    _describe_as(original, model)
    content = model.SerializeToString(deterministic=True)
    _check_gain(model.graph, len(content), source.stat().st_size)
    path.write_bytes(content)
    onnx.checker.check_model(str(path), full_check=True)


def _take_answers_off(model: onnx.ModelProto, path: Path) -> onnx.GraphProto:
    """Write a model without what is made of its logits, which comes back: constants in it would be folded.

    image → … → Gemm → logits (→ Div → Softmax → …)
    """
    graph, depends, answers = model.graph, {model.graph.output[0].name}, onnx.GraphProto()
    for node in graph.node:
        if depends.intersection(node.input):
            depends.update(node.output)
            answers.node.append(node)
    needed = {name for node in answers.node for name in node.input}
    answers.initializer.extend(constant for constant in graph.initializer if constant.name in needed)
    answers.output.extend(graph.output)
    for node in answers.node:
        graph.node.remove(node)
    for output in [output for output in graph.output[1:] if output.name in depends]:
        graph.output.remove(output)
    _remove_unused_constants(graph)
    onnx.save(model, path)
    return answers


def _put_answers_back(answers: onnx.GraphProto, graph: onnx.GraphProto) -> None:
    there = {constant.name for constant in graph.initializer}
    graph.node.extend(answers.node)
    graph.initializer.extend(constant for constant in answers.initializer if constant.name not in there)
    del graph.output[:]
    graph.output.extend(answers.output)


def _share_equal_weights(path: Path) -> None:
    """Undo what merging batch normalisation into a layer that is used for several views does: a copy for each use.

        Conv(image, weights), Conv(mirror image, copy of weights)  →  Conv(image, weights), Conv(mirror image, weights)

    Biases stay apart: their int8 scale depends on what comes into the layer.
    """
    model = onnx.load(path)
    constants = {constant.name: constant for constant in model.graph.initializer}
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    for layer in model.graph.node:
        if layer.op_type in _LAYERS and layer.input[1] in constants:
            weights = onnx.numpy_helper.to_array(constants[layer.input[1]])
            layer.input[1] = first.setdefault((layer.op_type, weights.shape, weights.tobytes()), layer.input[1])
    _remove_unused_constants(model.graph)
    onnx.save(model, path)


def _remove_unused_constants(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for constant in [constant for constant in graph.initializer if constant.name not in used]:
        graph.initializer.remove(constant)


class _Reader(CalibrationDataReader):
    def __init__(self, images: Iterable[np.ndarray]):
        self._images: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        pixels = next(self._images, None)
        return None if pixels is None else {"image": pixels}


def _kept_exact(graph: onnx.GraphProto) -> list[str]:
    """Name the nodes that stay fp32, in parentheses here: up to normalisation.

        image → (Slice → MatMul → Sub → Div →) Conv → … → Gemm → logits

    Found backwards: from the nodes that take normalisation's constants to all that leads to them.
    """
    producers = {output: node for node in graph.node for output in node.output}
    kept: set[str] = set()
    waiting = [node for node in graph.node if any(name.startswith(_PREPROCESSING) for name in node.input)]
    while waiting:
        node = waiting.pop()
        if node.output[0] not in kept:
            kept.add(node.output[0])
            waiting += [producers[name] for name in node.input if name in producers]
    return sorted(producers[name].name for name in kept)


def _return_exact_logits(graph: onnx.GraphProto) -> None:
    """Take the last rounding away: logits of 256 steps would make ties of classes that are close.

    Gemm → QuantizeLinear → DequantizeLinear → logits  →  Gemm → logits
    """
    producers = {output: node for node in graph.node for output in node.output}
    logits = graph.output[0].name
    dequantize = producers[logits]
    if dequantize.op_type != "DequantizeLinear":
        return
    quantize = producers[dequantize.input[0]]
    last = producers[quantize.input[0]]
    last.output[list(last.output).index(quantize.input[0])] = logits
    for node in (quantize, dequantize):
        graph.node.remove(node)
    _remove_unused_constants(graph)


def _describe_as(original: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Give a model the original's metadata, and of the sets of operators only those that are used."""
    del model.metadata_props[:]
    model.metadata_props.extend(original.metadata_props)
    model.producer_name, model.producer_version = original.producer_name, original.producer_version
    domains = {node.domain for node in model.graph.node}
    needed = [entry for entry in model.opset_import if entry.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(needed)


def _check_gain(graph: onnx.GraphProto, num_bytes: int, num_bytes_before: int) -> None:
    constants = {constant.name for constant in graph.initializer}
    weights = {
        node.output[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    layers = [node for node in graph.node if node.op_type in _LAYERS and weights.intersection(node.input)]
    if not layers:
        raise QuantizationError(
            "This network has no convolution and no dense layer that int8 could make smaller or faster. " + _HINT
        )
    if num_bytes >= num_bytes_before:
        raise QuantizationError(
            f"With int8 the model file would have {num_bytes} bytes, and with fp32 it has {num_bytes_before}. {_HINT}"
        )
