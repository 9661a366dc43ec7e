"""What identifies a trained model: a digest of all that determines it."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightline.config.params import Params
from lightline.data.dataset import Dataset
from lightline.data.splits import Splits
from lightline.files import content_digest, file_digest
from lightline.models.device import choose_device
from stages.train.precision import choose_precision

# What the train stage depends on, as dvc.yaml says too; a test compares the two.
CODE = (
    *("extensions/augmentations", "extensions/callbacks", "extensions/models"),
    *("lightline/data", "lightline/files.py", "lightline/models", "lightline_predict/images.py"),
    "stages/train",
)
TRAIN_SECTIONS = ("seed", "augment", "model", "optimizer", "schedule", "loss", "trainer")

_ROOT = Path(__file__).parents[2]


def train_params(params: Params) -> dict[str, Any]:
    """Give the sections that determine training, as plain JSON."""
    return params.model_dump(mode="json", include=set(TRAIN_SECTIONS))


def ingredients(
    params: Params, dataset: Dataset, splits: Splits, num_processes: int, weights: str | None
) -> dict[str, Any]:
    """Gather all that determines a trained model: data, split, parameters, code and the versions of what computes.

    num_processes: that train together; weights: the digest of those that training starts from, if not at random.
    """
    library = ["timm"] if params.model.name.startswith("timm/") else []
    return {
        "dataset": dataset.digest,
        "splits": splits.digest,
        "params": train_params(params),
        "weights": weights,
        # What `auto` came to: on other hardware, unfinished training starts afresh instead of changing its arithmetic.
        "precision": choose_precision(params.trainer, choose_device(params.hardware)),
        "processes": num_processes,  # a step takes a batch of each
        "code": code_digests(),
        "versions": {package: version(package) for package in ("torch", "torchvision", "lightning", *library)},
    }


def code_digests(root: Path = _ROOT) -> dict[str, str]:
    """Give the SHA-256 of each Python file of CODE by its path, without what .dvcignore leaves out."""
    files = [file for part in CODE for file in (root / part, *(root / part).rglob("*.py")) if file.is_file()]
    names = sorted(file.relative_to(root).as_posix() for file in files)
    return {name: file_digest(root / name) for name in names if "/." not in name}


def fingerprint(ingredients: dict[str, Any]) -> str:
    """Compute the SHA-256 of the ingredients, in hexadecimal."""
    return content_digest(ingredients)
