"""Values of params.yaml, changed ones, and what is said of them."""

import copy
from typing import Any

import pytest
import yaml

from lightline.config.load import check_params
from lightline.errors import ParameterError
from tests.support import ROOT, tiny

VALUES = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
MISSING = object()
SGD = tiny.SGD | {"lr": 0.1}
FETCH = {"allow_http": False, "allow_private": False, "max_bytes": 10}
FOLDER = {
    "source": "folder",
    "path": "data/raw",
    "sha256": None,
    "split_folders": "auto",
    "fetch": FETCH,
    "max_rejected": 0,
    "max_pixels": 10,
    "bit_depth": "auto",
    "corrections": None,
}
MNIST = {
    "source": "mnist",
    "mirror": None,
    "checksums": None,
    "fetch": FETCH,
    "max_rejected": 0,
    "max_pixels": 10,
    "bit_depth": "auto",
    "corrections": None,
}
AIRBENCH = {
    "name": "airbench",
    "weights": None,
    "weights_sha256": None,
    "input_size": 32,
    "crop_pct": 1.0,
    "normalize": "dataset",
    "test_time_augmentation": "none",
    "widths": [64, 64, 64],
    "depths": [2, 2, 2],
}
RESNET18 = {
    "name": "resnet18",
    "weights": None,
    "weights_sha256": None,
    "input_size": 224,
    "crop_pct": 0.875,
    "normalize": "imagenet",
    "stem": "standard",
    "test_time_augmentation": "none",
}
K_FOLD = {"strategy": "k_fold", "num_folds": 5, "fold": 0, "val": 0.1}


def changed(**changes: Any) -> dict[str, Any]:
    """params.yaml's values; trainer__max_epochs=1 sets trainer.max_epochs, MISSING takes the key away."""
    values = copy.deepcopy(VALUES)
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = values
        for part in sections:
            section = section[part]
        if value is MISSING:
            del section[key]
        else:
            section[key] = value
    return values


def complaint(values: Any) -> str:
    with pytest.raises(ParameterError) as caught:
        check_params(values, "params.yaml")
    return str(caught.value)
