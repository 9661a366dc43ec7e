"""How many photos a second does `lightline-predict batch` answer, and does its memory stay, however many there are?

The ants and bees, JPEG of about 500×375 pixels, in a folder. Beside a loop by hand (Pillow, then onnxruntime with all
cores, one by one), and beside threads that decode ahead of such a loop, as a DataLoader's workers do. With
EfficientNet-Lite0 at 224 pixels the network is most of the work, with a small network at 32 decoding is. Whole
processes, their imports included. Memory: the most that is resident with the small network, over names that are links
to these photos.
"""

import os
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.harness import Cost, Pairs, Row, in_turn, median_of, run_command
from benchmarks.photo_sets import photos
from benchmarks.settings import ROOT, composed
from lightline.models.build import build_network
from lightline.models.checkpoint import Checkpoint
from lightline.models.transforms import Preprocessing
from stages.export.exporter import export_onnx

_LOOP = """
import sys
from pathlib import Path
import numpy as np
import onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[None]
paths = sorted(path for path in Path(sys.argv[2]).rglob("*.jpg"))
"""
_ONE_BY_ONE = f"{_LOOP}decoded = map(pixels, paths)\n"
# Some photos ahead: a pool's own map would decode all of them at once.
_AHEAD = f"""{_LOOP}
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
def ahead(pool):
    waiting = deque()
    for path in paths:
        waiting.append(pool.submit(pixels, path))
        if len(waiting) > 64:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
decoded = ahead(ThreadPoolExecutor(len(os.sched_getaffinity(0))))
"""
_ANSWERS = 'print([session.run(["probabilities"], {"image": one})[0].argmax() for one in decoded])'
_PAIRS, _FEW, _MANY = 3, 1_000, 10_000
_LARGE = ("model=pretrained", "model.name=timm/tf_efficientnet_lite0", "model.weights=null", "model.input_size=224",
          "model.crop_pct=1.0", "model.normalize=dataset")  # fmt: skip
_SMALL = ("model=cnn",)


def run(quick: bool) -> list[Row]:
    """Return two rows for each network, and one for memory."""
    source = photos(quick)
    found = sorted(source.rglob("*.jpg"))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = _export(folder / "small.onnx", *_SMALL), _export(folder / "large.onnx", *_LARGE)
        for network, model in (("EfficientNet-Lite0", large), ("a small network", small)):
            for what, code in (("a loop by hand", _ONE_BY_ONE), ("threads ahead of a loop", _AHEAD)):
                pairs = _in_turn(model, source, folder, code + _ANSWERS, quick)
                rows.append(_row(f"photos a second, {network}, against {what}", pairs, len(found)))
        few, many = (_FEW // 10, _MANY // 10) if quick else (_FEW, _MANY)
        costs = [_batch(small, _linked(folder / f"{number}", found, number), folder) for number in (few, many)]
    return [*rows, _memory(costs, few, many)]


def _export(path: Path, *choices: str) -> Path:
    """Write a model file with random weights, on which neither time nor memory depends."""
    settings = composed(*choices).model
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        fingerprint="0" * 64,
        dataset="0" * 64,
        classes=["ants", "bees"],
        params={"model": settings.model_dump(mode="json")},
        preprocessing=Preprocessing(settings.input_size or 0, 1.0, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)),
        epoch=1,
        metrics={},
        state_dict=build_network(settings, 2).state_dict(),
    )
    export_onnx(checkpoint, {}, 20, path)
    return path


def _batch(model: Path, source: Path, folder: Path) -> Cost:
    command = (sys.executable, "-m", "lightline_predict", "batch", str(model), str(source), str(folder / "out.parquet"))
    return run_command(command, ROOT)


def _in_turn(model: Path, source: Path, folder: Path, code: str, quick: bool) -> Pairs:
    def by_hand() -> Cost:
        return run_command((sys.executable, "-c", code, str(model), str(source)), ROOT)

    return in_turn(lambda: _batch(model, source, folder), by_hand, 1 if quick else _PAIRS, warm_up=not quick)


def _row(what: str, pairs: Pairs, number: int) -> Row:
    ours, reference = (f"{number / seconds:.0f}" for seconds in pairs.seconds())
    return Row(what, ours, reference, pairs.ratio(), pairs.ratio("cpu"))


def _linked(folder: Path, found: list[Path], number: int) -> Path:
    """Make a folder of so many names of these photos."""
    folder.mkdir()
    for count in range(number):
        os.link(found[count % len(found)], folder / f"{count:06d}.jpg")
    return folder


def _memory(costs: list[Cost], few: int, many: int) -> Row:
    first, last = (median_of([cost], "memory") / 2**20 for cost in costs)
    return Row(
        what=f"most resident memory over {many:,} photos, against over {few:,}",
        ours=f"{last:.0f} MiB",
        reference=f"{first:.0f} MiB",
        ratio=first / last,
        target="at least 0.9",
        met=first / last >= 0.9,
    )
