"""What does a process take to its first answer: from the model file, without torch, beside the checkpoint in torch?

ResNet-18 for 32×32 pixels, one PNG. Whole processes: Python, imports, reading the file, decoding, one answer, the end.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.harness import PAIRS, Pairs, Row, in_turn, median_of, run_command
from benchmarks.resnet import pixels, write_resnet18
from benchmarks.settings import ROOT
from lightline_predict import images

_IN_TORCH = """
import sys
from pathlib import Path
import torch
from lightline_predict import images
from lightline.models.checkpoint import load_checkpoint
from lightline.model_file.pixel_classifier import PixelClassifier
checkpoint = load_checkpoint(Path(sys.argv[1]))
model = PixelClassifier(checkpoint.network(), checkpoint.preprocessing).eval()
with torch.inference_mode():
    image = torch.tensor(images.check(Path(sys.argv[2]).read_bytes(), 10**8).pixels)[None]
    probabilities = model(image)[1][0]
print(checkpoint.classes[int(probabilities.argmax())], float(probabilities.max()))
"""


def run(quick: bool) -> list[Row]:
    """Return two lines, time and memory, for each kind of numbers."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files, image = write_resnet18(Path(folder)), Path(folder, "image.png")
        image.write_bytes(images.encode(pixels(1)[0]))
        reference = [sys.executable, "-c", _IN_TORCH, str(files.checkpoint), str(image)]
        for numbers, file in (("fp32", files.fp32), ("int8", files.int8)):
            ours = [sys.executable, "-m", "lightline", "predict", str(file), str(image)]
            pairs = in_turn(
                lambda ours=ours: run_command(ours, ROOT), lambda: run_command(reference, ROOT),
                2 if quick else PAIRS, warm_up=not quick,
            )  # fmt: skip
            rows += [_time(pairs, numbers), _memory(pairs, numbers)]
    return rows


def _time(pairs: Pairs, numbers: str) -> Row:
    ours, reference = pairs.seconds()
    ratio = pairs.ratio()
    return Row(
        what=f"start to first answer, {numbers}",
        ours=f"{ours:.2f} s",
        reference=f"{reference:.2f} s",
        ratio=ratio,
        cpu_ratio=pairs.ratio("cpu"),
        target="at least 5",
        met=ratio >= 5,
    )


def _memory(pairs: Pairs, numbers: str) -> Row:
    ours, reference = (median_of(costs, "memory") / 2**20 for costs in (pairs.ours, pairs.reference))
    ratio = pairs.ratio("memory")
    return Row(
        what=f"most resident memory until then, {numbers}",
        ours=f"{ours:.0f} MiB",
        reference=f"{reference:.0f} MiB",
        ratio=ratio,
        target="at least 3",
        met=ratio >= 3,
    )
