"""How many augmented photos a second and core, against torchvision's way with ImageFolder, and against decoding alone?

Made-up photos of 500×375 pixels, JPEG, seen at 224: RandomResizedCrop, flip, ColorJitter, normalisation, batches of 32
on one core. Where images fit into memory, ours decodes them before the first epoch, which is left out; where they do
not, they lie decoded in a file, or are decoded each time.
"""

import io
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.data_path import _consume, _ours, _Training
from benchmarks.harness import Row, in_turn
from benchmarks.settings import composed
from lightline.data.dataset import Dataset, write_dataset
from lightline.data.dataset import Row as ImageRow
from lightline.data.splits import Splits
from stages.train.datamodule import ImageDataModule

_SIZE, _BATCH, _TARGET = 224, 32, 4
_AUGMENTATION = (
    "augment=photo", "augment.random_resized_crop.scale=[0.08,1.0]",
    *(f"augment.color_jitter.{name}=0.4" for name in ("brightness", "contrast", "saturation")),
)  # fmt: skip


def run(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, pairs = Path(name), 2 if quick else 7
        num_images = 64 if quick else 256
        dataset = _photos(folder, num_images)
        files = DataLoader(_reference(folder), _BATCH, shuffle=True)
        rows = []
        for what, hardware in (
            ("in memory", {}),
            ("decoded in a file", {"memory_fraction": 0.0}),
            ("decoded each time", {"memory_fraction": 0.0, "disk_fraction": 0.0}),
        ):
            data = _module(dataset, hardware)
            in_memory = what == "in memory"
            reference = partial(_consume, files) if in_memory else partial(_decode, dataset)
            found = in_turn(partial(_ours, data), reference, pairs)
            ours, theirs = (num_images / seconds for seconds in found.seconds("cpu"))
            ratio, target = found.ratio("cpu"), _TARGET if in_memory else 1
            beside = "ImageFolder with torchvision" if in_memory else "decoding alone"
            label = f"photos a second and core, {what}, beside {beside}"
            asked = f"CPU ratio at least {target}"
            numbers = (f"{ours:,.0f}", f"{theirs:,.0f}", found.ratio(), ratio)
            rows.append(Row(label, *numbers, asked, ratio >= target))
        return rows


def _photos(folder: Path, num_images: int) -> Dataset:
    """Write photos of noise that is smooth, as photos are, into class folders and a dataset."""
    random, rows = np.random.default_rng(0), []
    for number in range(num_images):
        coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
        pixels = (smooth + random.integers(-8, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "JPEG", quality=90)
        name = "ab"[number % 2]
        (folder / "files" / name).mkdir(parents=True, exist_ok=True)
        (folder / "files" / name / f"{number}.jpg").write_bytes(encoded.getvalue())
        rows.append(ImageRow(f"{name}/{number}.jpg", encoded.getvalue(), name, 375, 500, f"{number:064d}"))
    write_dataset(rows, None, folder / "dataset")
    return Dataset(folder / "dataset")


def _module(dataset: Dataset, hardware: dict[str, float]) -> ImageDataModule:
    choices = (f"hardware.{name}={value}" for name, value in hardware.items())
    params = composed(
        *_AUGMENTATION, f"model.input_size={_SIZE}", f"trainer.batch_size={_BATCH}", "hardware.num_workers=0", *choices
    )
    table = pa.table({"id": dataset.column("id"), "label": dataset.labels, "split": ["train"] * len(dataset)})
    data = ImageDataModule(params, dataset, Splits(table))
    data.trainer = _Training()  # type: ignore[assignment]
    return data


def _decode(dataset: Dataset) -> None:
    for row in range(len(dataset)):
        dataset.pixels(row)


def _reference(folder: Path) -> ImageFolder:
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(_SIZE),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.4, 0.4, 0.4),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    return ImageFolder(folder / "files", transform)
