"""The gate against files that need more than themselves and ONNX: each kind is refused, networks of today pass."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lightline.errors import LightlineError
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.models.build import build_network
from lightline.models.checkpoint import Checkpoint
from lightline.models.transforms import Preprocessing
from stages.export import exporter
from stages.export.exporter import export_onnx
from stages.export.portability import PortabilityError, check_portable
from tests.support.samples import model_settings


class Bright(nn.Module):
    """Counts the pixels above a threshold."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.mean((2, 3)) + torch.nonzero(inputs > 0).float().mean()


class Masked(nn.Module):
    """Takes the mean of the pixels above a threshold."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.mean((2, 3)) + inputs[inputs > 0].mean()


class Distinct(nn.Module):
    """Takes the mean of the values that occur."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.mean((2, 3)) + torch.unique(inputs).mean()


class Cropped(nn.Module):
    """Takes as many rows as the first pixel says."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs[0, 0, 0, 0].long().item()
        torch._check(rows > 0)
        torch._check(rows < inputs.shape[2])
        return inputs[:, :, :rows].sum((2, 3))


class Repeated(nn.Module):
    """Takes each channel as often as its brightest pixel says."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (
            inputs.mean((2, 3)) + torch.repeat_interleave(inputs.mean((0, 2, 3)), inputs.amax((0, 2, 3)).long()).sum()
        )


DEPENDENT = {Bright: "NonZero", Masked: "NonZero", Distinct: "Unique", Cropped: "Slice", Repeated: "Range"}


@pytest.mark.parametrize("network", DEPENDENT, ids=lambda network: network.__name__)
def test_a_network_whose_shapes_depend_on_pixels_is_refused_at_export(network, exported, tmp_path, monkeypatch):
    checkpoint, _ = exported("cnn", crop_pct=0.9)
    monkeypatch.setattr(Checkpoint, "network", lambda checkpoint: nn.Sequential(nn.Conv2d(3, 3, 1), network()))
    said = (
        rf"^In ONNX this network's node '\w+' \({DEPENDENT[network]}, in module network\.1\) has a shape that pixels' "
        r"values decide.* none is written\. Choose another model\.name, or \S"
    )
    with pytest.raises(PortabilityError, match=said):
        export_onnx(checkpoint, {}, 20, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


class ByValue(nn.Module):
    """Adds another number for bright images than for dark ones: its graph has branches, and one shape."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        means = inputs.mean((2, 3))
        return torch.cond(means.mean() > 0, lambda means: means + 1, lambda means: means - 1, (means,))


FAMILIES = {
    "resnet18": 32,
    "mobilenet_v3_small": 32,
    "vit_b_16": 32,
    "swin_t": 32,
    "timm/test_vit": 32,
    "timm/test_resnet": 32,
    "timm/test_convnext": 32,
    "timm/test_efficientnet": 32,
}


@pytest.mark.parametrize("name", [*FAMILIES, "by value"])
def test_networks_of_today_pass(name):
    network = ByValue() if name == "by value" else build_network(model_settings(name, input_size=FAMILIES[name]), 3)
    model = PixelClassifier(network, Preprocessing(32, 0.875, (0.5,) * 3, (0.2,) * 3, "bicubic")).eval()
    check_portable(exporter._trace(model, 20))


def values(**shapes: list) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def model_of(*nodes: onnx.NodeProto, constants: tuple = (), functions: tuple = ()) -> onnx.ModelProto:
    graph = helper.make_graph([*nodes], "main", values(image=[None]), values(logits=[None]), [*constants])
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=domains, functions=[*functions])


def number(name: str, value: int) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [1], [value])


def test_an_operator_of_another_domain_is_refused():
    with pytest.raises(
        PortabilityError, match=r"node 'last' \(Twice\) is of domain 'mine', which is none of ONNX's own"
    ):
        check_portable(model_of(helper.make_node("Twice", ["image"], ["logits"], "last", domain="mine")))


def test_a_function_of_another_domain_is_refused():
    twice = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    with pytest.raises(PortabilityError, match=r"function 'Twice' is of domain 'mine'"):
        check_portable(model_of(helper.make_node("Identity", ["image"], ["logits"]), functions=(twice,)))


@pytest.mark.parametrize("where", ["a constant", "a node"])
def test_data_in_another_file_is_refused(where, tmp_path: Path):
    weights = numpy_helper.from_array(np.ones(1000, np.float32), "weights")
    add = helper.make_node("Add", ["image", "weights"], ["logits"])
    constant = helper.make_node("Constant", [], ["weights"], value=weights)
    model = model_of(add, constants=(weights,)) if where == "a constant" else model_of(constant, add)
    check_portable(model)
    external = {"save_as_external_data": True, "location": "weights.bin", "convert_attribute": True}
    onnx.save(model, tmp_path / "model.onnx", **external, size_threshold=0)
    with pytest.raises(PortabilityError, match=r"tensor 'weights' lies in a file of its own"):
        check_portable(onnx.load(tmp_path / "model.onnx", load_external_data=False))


def loop(body: list[onnx.NodeProto], rounds: str = "rounds", goes_on: str = "goes_on") -> list[onnx.NodeProto]:
    """A Loop that carries `kept`, from the image on; its last output is collected, one element a round."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["goes_on"]), *body],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            *values(kept=[None]),
        ],
        [helper.make_tensor_value_info(goes_on, TensorProto.BOOL, []), *values(next=[None])],
    )
    return [helper.make_node("Loop", [rounds, "", "image"], ["logits"], "rounds of", body=graph)]


CAST = helper.make_node("Cast", ["image"], ["counted"], to=TensorProto.INT64)
KEEP = helper.make_node("Identity", ["kept"], ["next"])
INSIDE = {
    "a shape in a branch": [
        CAST,
        helper.make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["is_bright"], to=TensorProto.BOOL),
        helper.make_node(
            "If",
            ["is_bright"],
            ["logits"],
            then_branch=helper.make_graph(
                [helper.make_node("Tile", ["image", "counted"], ["a"])], "a", [], values(a=[1])
            ),
            else_branch=helper.make_graph([helper.make_node("Identity", ["image"], ["b"])], "b", [], values(b=[1])),
        ),
    ],
    "a shape after a branch": [
        helper.make_node("Cast", ["image"], ["is_bright"], to=TensorProto.BOOL),
        helper.make_node(
            "If",
            ["is_bright"],
            ["chosen"],
            then_branch=helper.make_graph([helper.make_node("Identity", ["rounds"], ["a"])], "a", [], values(a=[1])),
            else_branch=helper.make_graph(
                [helper.make_node("Add", ["rounds", "rounds"], ["b"])], "b", [], values(b=[1])
            ),
        ),
        helper.make_node("Expand", ["image", "chosen"], ["logits"]),
    ],
    "a number of rounds": [CAST, *loop([KEEP], rounds="counted")],
    "whether there is another round": loop(
        [KEEP, helper.make_node("Cast", ["kept"], ["bright"], to=TensorProto.BOOL)], goes_on="bright"
    ),
    "what an earlier round has left": loop(
        [
            helper.make_node("Cast", ["kept"], ["times"], to=TensorProto.INT64),
            helper.make_node("Tile", ["rounds", "times"], ["tiled"]),
            helper.make_node("Shape", ["tiled"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["next"], to=TensorProto.FLOAT),
        ]
    ),
}


@pytest.mark.parametrize("where", INSIDE)
def test_shapes_that_pixels_decide_are_found_inside_branches_and_loops(where):
    with pytest.raises(PortabilityError, match="has a shape that pixels' values decide"):
        check_portable(model_of(*INSIDE[where], constants=(number("rounds", 2),)))


def test_a_loop_over_the_image_s_size_passes():
    size = helper.make_node("Size", ["image"], ["size"])
    check_portable(model_of(size, *loop([KEEP], rounds="size")))


class Undecided(nn.Module):
    """What torch itself refuses: the way through it depends on the values."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.mean((2, 3)) if inputs.mean() > 0 else inputs.amax((2, 3))


def test_what_torch_refuses_is_told_by_its_cause_in_one_line(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "network", lambda checkpoint: Undecided())
    with pytest.raises(LightlineError) as caught:
        export_onnx(exported("cnn", crop_pct=0.9)[0], {}, 20, tmp_path / "model.onnx")
    said = str(caught.value)
    assert "data-dependent expression" in said  # not that torch.export.export failed, at step 1/3
    assert "\n" not in said
    assert "\x1b" not in said
    assert said.endswith(
        "Choose another model.name or export.opset, or write that part of the network in other operations."
    )
