"""A few images, split, as training reads them."""

from pathlib import Path

import pyarrow as pa

from lightline.data.dataset import Dataset
from lightline.data.splits import Splits
from stages.train.datamodule import ImageDataModule
from tests.support.samples import random_pixels, save_dataset
from tests.support.tiny import tiny_params

PHOTO = {
    "augment__random_crop_padding": 0,
    "augment__random_resized_crop": {"scale": [0.3, 1.0], "ratio": [0.75, 1.3333]},
    "augment__color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
}


def make_splits(dataset: Dataset, num_train: int) -> Splits:
    """The first num_train rows train, the others are val."""
    names = ["train"] * num_train + ["val"] * (len(dataset) - num_train)
    return Splits(pa.table({"id": dataset.column("id"), "label": dataset.labels, "split": names}))


def make_data(folder: Path, num_train: int, num_val: int = 5, **changes) -> ImageDataModule:
    dataset = save_dataset(folder / "dataset", list(random_pixels(num_train + num_val, 16, 16, 3)))
    return ImageDataModule(tiny_params(**changes), dataset, make_splits(dataset, num_train))
