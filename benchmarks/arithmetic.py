"""What do bfloat16, the channels_last layout and torch.compile bring, and is `precision: auto` right about them?

Training steps on prepared images, in turn: the tutorial's CNN and the airbench's network, as `trainer.precision: auto`
trains them, against float32 in torch's default layout; then each as it is against itself compiled.
"""

from copy import deepcopy

import torch
from torch import nn

from benchmarks.harness import Row, in_turn
from benchmarks.settings import composed
from lightline.models.build import build_network
from lightline.models.device import choose_device
from stages.train.precision import choose_precision

_BATCH = 256
_NETWORKS = {"the tutorial's CNN": ("model=cnn",), "the airbench (32, 64, 64)": ("model=airbench_narrow",)}


def run(quick: bool) -> list[Row]:
    rows = []
    for name, overrides in _NETWORKS.items():
        params = composed("hardware=cpu", *overrides)
        precision = choose_precision(params.trainer, choose_device(params.hardware))
        network = build_network(params.model, 10)
        plain = _Steps(network, bfloat16=False, channels_last=False, num_steps=2)
        chosen = _Steps(network, bfloat16=precision == "bf16-mixed", channels_last=True, num_steps=2)
        rows.append(_row(f"{name}: auto ({precision}, channels_last), against float32", chosen, plain, quick))
        if not quick:
            compiled = _Steps(network, precision == "bf16-mixed", channels_last=True, num_steps=2, compiled=True)
            rows.append(_row(f"{name}: compiled, against not", compiled, chosen, quick))
    return rows


def _row(what: str, ours: "_Steps", reference: "_Steps", quick: bool) -> Row:
    pairs = in_turn(ours, reference, pairs=2 if quick else 7)
    images = _BATCH * ours.num_steps
    mine, theirs = (f"{images / seconds:,.0f} images/s" for seconds in pairs.seconds())
    compared = "compiled" in what
    target = "" if compared else "auto is the quicker one"
    return Row(what, mine, theirs, pairs.ratio(), pairs.ratio("cpu"), target, None if compared else pairs.ratio() >= 1)


class _Steps:
    """Some training steps of a copy of a network."""

    def __init__(self, network: nn.Module, bfloat16: bool, channels_last: bool, num_steps: int, compiled: bool = False):
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = deepcopy(network).to(memory_format=layout)  # type: ignore[call-overload]
        self.images = torch.randn(_BATCH, 3, 32, 32).contiguous(memory_format=layout)
        self.labels = torch.randint(10, (_BATCH,))
        self.bfloat16, self.num_steps = bfloat16, num_steps
        self.optimizer = torch.optim.SGD(self.network.parameters(), 0.01)
        if compiled:
            self.network.compile()

    def __call__(self) -> None:
        for _ in range(self.num_steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                loss = nn.functional.cross_entropy(self.network(self.images), self.labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
