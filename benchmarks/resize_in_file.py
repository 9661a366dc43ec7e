"""What does the model file's resize cost in onnxruntime, as products of matrices, beside ONNX's own Resize?

From raw pixels to what the network sees, with one thread. Resize takes only the pixels that have a weight, the products
all of a row; but Resize with antialias=1 is another one in OpenVINO, and none in TensorRT.
"""

from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

from benchmarks.harness import PAIRS, Row, in_turn
from lightline.models.transforms import CropAndResize, Normalize, Preprocessing, evaluation_transform
from stages.export.exporter import _trace

_SHAPES = {"64 images of 100×100": (64, 100, 100, 3), "480×640": (1, 480, 640, 3), "3000×4000": (1, 3000, 4000, 3)}


class _ByResize(CropAndResize):
    """The same through ONNX's Resize."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[1], images.shape[2]
        side = torch.sym_min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = images[:, top : top + side, left : left + side].permute(0, 3, 1, 2).float()
        torch._check(square.shape[2] > 0)  # which the exporter cannot see from the slices
        torch._check(square.shape[3] > 0)
        resized = functional.interpolate(square, (self.input_size, self.input_size), mode="bilinear", antialias=True)
        level = resized.floor()
        rounded = level + ((resized - level - 0.5) * 32 + 0.5).clamp(0, 1)
        is_enlarged = torch.sym_max(torch.sym_min(self.input_size - side, 1), 0)
        return (resized + (rounded - resized) * is_enlarged).permute(0, 2, 3, 1)


def run(quick: bool) -> list[Row]:
    """Return a row for each size of the input and each kind of images."""
    rows = []
    for size in (224, 32):
        values = Preprocessing(size, 1.0, (0.5,) * 3, (0.25,) * 3)
        ours = _session(evaluation_transform(values))
        reference = _session(nn.Sequential(_ByResize(size, 1.0), Normalize(values)))
        rows += [_row(f"{name} to {size}×{size}", ours, reference, shape, quick) for name, shape in _SHAPES.items()]
    return rows


def _session(transform: nn.Module) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(_trace(transform.eval(), 20).SerializeToString(), options)


def _row(
    what: str,
    ours: onnxruntime.InferenceSession,
    reference: onnxruntime.InferenceSession,
    shape: tuple[int, ...],
    quick: bool,
) -> Row:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def work(session: onnxruntime.InferenceSession) -> Callable[[], object]:
        return lambda: [session.run(None, {"image": image}) for _ in range(5)]

    found, expected = (np.asarray(session.run(None, {"image": image})[0]) for session in (ours, reference))
    assert np.abs(found - expected).max() < 0.01  # else they are not the same
    pairs = in_turn(work(ours), work(reference), 2 if quick else PAIRS)
    mine, theirs = (f"{seconds * 200:.2f} ms" for seconds in pairs.seconds())
    return Row(what, mine, theirs, pairs.ratio(), pairs.ratio("cpu"))
