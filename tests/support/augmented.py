"""Batches to augment, of images that are made up."""

from typing import Any

import torch

from lightline.config.training import Augment, ColorJitter, RandAugment
from stages.train.augmentation import Augmentation
from tests.support.samples import random_pixels

SIZE = 12
NUM_CLASSES = 5
ROWS = torch.arange(400, 656)
LABELS = torch.arange(len(ROWS)) % NUM_CLASSES
ASPECTS = torch.ones(2000)


def augmentation(seed: int = 7, **changes: Any) -> Augmentation:
    """Nothing switched on but the changes."""
    basis: dict[str, Any] = {
        "random_resized_crop": None,
        "store_size": None,
        "random_crop_padding": 0,
        "padding_mode": "reflect",
        "horizontal_flip": 0.0,
        "alternating_flip": False,
        "color_jitter": ColorJitter(brightness=0.0, contrast=0.0, saturation=0.0),
        "random_rotation": 0.0,
        "rand_augment": RandAugment(num_ops=0, magnitude=9),
        "trivial_augment": False,
        "random_erasing": 0.0,
        "mixup_alpha": 0.0,
        "cutmix_alpha": 0.0,
        "low_resolution": [],
        "transforms": [],
    }
    return Augmentation(Augment(**(basis | changes)), seed, NUM_CLASSES, SIZE, ASPECTS)


def pixels(num: int = len(ROWS), size: int = SIZE) -> torch.Tensor:
    return torch.from_numpy(random_pixels(num, size, size, 3))


def inputs(num: int = len(ROWS), size: int = SIZE) -> torch.Tensor:
    return torch.randn(num, 3, size, size, generator=torch.Generator().manual_seed(0))
