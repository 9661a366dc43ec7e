"""A folder of photos as a user has them, and which stages a run of DVC ran."""

from pathlib import Path

import numpy as np
from PIL import Image

STAGES = ["source", "download", "split", "train", "test", "export", "quantize@int8", "report"]


def ran(output: str) -> list[str]:
    return [name for name in STAGES if f"Running stage '{name}'" in output]


def make_folder(folder: Path, per_class: int = 8) -> None:
    """Three classes of 20×24 PNGs that a network can tell apart."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("blue", "green", "red")):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 100, (20, 24, 3), dtype=np.uint8)
            pixels[..., 2 - label] += 120
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
