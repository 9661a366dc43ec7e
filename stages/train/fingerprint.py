"""What identifies a trained model: a digest of all that determines it."""

from importlib.metadata import version
from typing import Any

from lightline.closure import closure_digests
from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import Splits
from lightline.files import content_digest
from lightline.models.device import choose_device
from stages.train.precision import choose_precision

# The sections that the train stage depends on, as dvc.yaml says too; a test compares the two.
TRAIN_SECTIONS = ("seed", "augment", "model", "optimizer", "schedule", "loss", "trainer")


def train_params(params: Params) -> dict[str, Any]:
    """The sections that determine training, as plain JSON."""
    return params.model_dump(mode="json", include=set(TRAIN_SECTIONS))


def ingredients(params: Params, dataset: Dataset, splits: Splits, num_processes: int) -> dict[str, Any]:
    """All that determines a trained model: data, split, parameters, code and the versions of what computes.

    num_processes: that train together.
    """
    return {
        "dataset": dataset.digest,
        "splits": splits.digest,
        "params": train_params(params),
        # What `auto` came to: on other hardware, unfinished training starts afresh instead of changing its arithmetic.
        "precision": choose_precision(params.trainer, choose_device(params.hardware)),
        "processes": num_processes,  # a step takes a batch of each
        "code": closure_digests("stages.train"),
        "versions": {package: version(package) for package in ("torch", "torchvision", "lightning")},
    }


def fingerprint(ingredients: dict[str, Any]) -> str:
    """SHA-256 of the ingredients, in hexadecimal."""
    return content_digest(ingredients)
