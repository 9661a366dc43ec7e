"""What a model file may need: ONNX's own operators, its own bytes, and shapes that image sizes alone decide."""

import ast
from itertools import zip_longest

import onnx

from lightline.errors import LightlineError

# Operators that give as many elements as values say.
_COUNTS = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}
# Inputs whose values are sizes, axes, bounds or a number of rounds, by operator.
_AT_1 = ("AffineGrid", "CenterCropPad", "Expand", "OneHot", "Reshape", "Split", "Squeeze", "Tile", "TopK", "Unsqueeze")
_SIZES = dict.fromkeys(_AT_1, (1,)) | {"Col2Im": (1, 2), "ConstantOfShape": (0,), "Loop": (0, 1), "MaxUnpool": (2,)}
_SIZES |= {"Pad": (1, 3), "Range": (0, 1, 2), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4)}
_SHAPE_OF_VALUES = "has a shape that pixels' values decide, not the image's size alone"


class PortabilityError(LightlineError):
    """A network whose file not every runtime could answer from."""


def check_portable(model: onnx.ModelProto) -> None:
    """Raise a PortabilityError for an operator of another domain, data in another file, a shape that pixels decide."""
    for function in model.functions:
        raise _refusal(f"function {function.name!r}", f"is of domain {function.domain!r}, which is none of ONNX's own")
    _walk(model.graph, {value.name for value in model.graph.input})


def _walk(graph: onnx.GraphProto, pixels: set[str]) -> set[str]:
    """Check a graph; pixels: the names of values that depend on those, to which the graph's own are added."""
    for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
        _check_tensor(tensor)
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise _refusal(_name(node), f"is of domain {node.domain!r}, which is none of ONNX's own")
        for attribute in node.attribute:
            _check_tensor(attribute.t)
        depends = [name in pixels for name in node.input]
        sizes = [depends[place] for place in _SIZES.get(node.op_type, ()) if place < len(depends)]
        if any(sizes) or (node.op_type in _COUNTS and any(depends)):
            raise _refusal(_name(node), _SHAPE_OF_VALUES)
        bodies = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
        given = [any(one) or depends[0] for one in zip_longest(*(_walk_body(node, body, pixels) for body in bodies))]
        if not bodies:
            given = [any(depends) and node.op_type not in ("Shape", "Size")] * len(node.output)
        pixels |= {name for name, depending in zip(node.output, given, strict=False) if depending}
    return pixels


def _walk_body(node: onnx.NodeProto, body: onnx.GraphProto, pixels: set[str]) -> list[bool]:
    """Check the body of an If, Loop or Scan; tell which of the node's outputs depend on pixels."""
    inner = pixels | {own.name for own, outer in zip(body.input, node.input, strict=False) if outer in pixels}
    first, before = int(node.op_type == "Loop"), -1  # a Loop's body says first whether there is another round
    while len(inner) > before:  # what a round gives, the next one takes
        before = len(inner)
        inner = _walk(body, inner)
        inner |= {own.name for given, own in zip(body.output, body.input[first:], strict=False) if given.name in inner}
    if first and body.output[0].name in inner:
        raise _refusal(_name(node), _SHAPE_OF_VALUES)
    return [output.name in inner for output in body.output[first:]]


def _check_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise _refusal(f"tensor {tensor.name!r}", "lies in a file of its own (external data)")


def _name(node: onnx.NodeProto) -> str:
    scopes = [entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
    modules = ast.literal_eval(scopes[0]) if scopes else []  # torch's, the outermost first, the operator last
    return f"node {node.name!r} ({node.op_type}{f', in module {modules[-2]}' if any(modules[:-1]) else ''})"


def _refusal(what: str, why: str) -> PortabilityError:
    return PortabilityError(
        f"In ONNX this network's {what} {why}: not every runtime could answer from the file, and so none is written. "
        "Choose another model.name, or write that part of the network in other operations."
    )
