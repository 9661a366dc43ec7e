"""How long does a training step of a network of depthwise convolutions take, beside torch's own gradients of them?

A batch of 32 at 224 pixels, forwards and backwards, all of the network trained, in channels_last under autocast in
bfloat16; in turn. Where the processor has no instructions for bfloat16, training takes float32, and nothing is asked.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional

from benchmarks.harness import PAIRS, Row, in_turn
from benchmarks.settings import composed
from lightline.config.model import LibraryModel
from lightline.models.build import build_network
from stages.train.depthwise import depthwise_gradients
from stages.train.precision import choose_precision

_NETWORKS = ("timm/tf_efficientnet_lite0", "mobilenet_v3_large", "convnext_tiny")
_BATCH, _SIZE = 32, 224
_CPU = torch.device("cpu")


def run(quick: bool) -> list[Row]:
    """Return a row for each network; quick: for the first, with few images."""
    precision = choose_precision(composed().trainer, _CPU)
    if precision != "bf16-mixed":
        return [Row("nothing is changed", f"training takes {precision} on this processor")]
    return [_row(name, precision, quick) for name in _NETWORKS[: 1 if quick else None]]


def _row(name: str, precision: str, quick: bool) -> Row:
    model = composed("model=pretrained").model
    assert isinstance(model, LibraryModel)
    settings = model.model_copy(update={"name": name, "weights": None, "input_size": _SIZE})
    network = build_network(settings, 10).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(2 if quick else _BATCH, 3, _SIZE, _SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(len(images)) % 10

    def step(mode: AbstractContextManager[Any]) -> Callable[[], None]:
        def work() -> None:
            with mode, torch.autocast("cpu", torch.bfloat16):
                loss = functional.cross_entropy(network(images), labels)
            loss.backward()

        return work

    pairs = in_turn(step(depthwise_gradients(network, precision, _CPU)), step(nullcontext()), 2 if quick else PAIRS)
    ours, theirs = (f"{seconds:.2f} s" for seconds in pairs.seconds())
    return Row(f"a step of {name}, {len(images)} images", ours, theirs, pairs.ratio(), pairs.ratio("cpu"))
