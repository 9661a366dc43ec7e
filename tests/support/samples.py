"""Small data sets and checkpoints to test with."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from lightline.config import model as config
from lightline.data.dataset import Dataset, Row, write_dataset
from lightline.data.splits import write_splits
from lightline.files import write_json
from lightline.model_file.pixel_classifier import PixelClassifier
from lightline.models.build import build_network, head_names
from lightline.models.checkpoint import BEST, Checkpoint, save_checkpoint
from lightline.models.logits import write_logits
from lightline.models.transforms import Preprocessing
from lightline_predict import images
from lightline_predict.images import pixel_digest

CLASSES = ("cat", "dog", "größe")


def model_settings(name: str = "cnn", **changes: Any) -> config.Model:
    """The model section for a network of 16 pixels."""
    own = {"cnn": {}, "airbench": {"widths": [32, 64, 64], "depths": [2, 2, 2]}}
    keys = own.get(name, {"stem": "auto"}) | {"weights": None, "weights_sha256": None}
    basis = {"input_size": 16, "crop_pct": 1.0, "normalize": "dataset", "test_time_augmentation": "none"}
    return config.model_settings({"name": name, **basis, **keys, **changes})


def random_pixels(*shape: int, seed: int = 0) -> np.ndarray:
    """uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save_dataset(folder: Path, pictures: Sequence[np.ndarray], classes: Sequence[str] = CLASSES) -> Dataset:
    """A data set of these pixels, uint8 [height, width, 3] each; the classes in turn, the rows in the order given."""
    write_dataset(
        [
            Row(
                id=f"{number:04d}",
                image=images.encode(pixels),
                class_name=classes[number % len(classes)],
                height=pixels.shape[0],
                width=pixels.shape[1],
                digest=pixel_digest(pixels),
            )
            for number, pixels in enumerate(pictures)
        ],
        classes,
        folder,
    )
    return Dataset(folder)


def make_checkpoint(settings: config.Model, classes: Sequence[str] = CLASSES, dataset: str = "d" * 64) -> Checkpoint:
    """A network of random weights, its batch normalisation warmed up so that training mode answers otherwise."""
    torch.manual_seed(0)
    network = build_network(settings, len(classes))
    with torch.no_grad():
        for name in head_names(network):  # a new head says next to nothing, and this one is to say something
            for parameter in network.get_submodule(name).parameters():
                parameter.uniform_(-0.05, 0.05)
        for _ in range(3):
            network(torch.randn(8, 3, settings.input_size, settings.input_size) * 2 + 1)
    return Checkpoint(
        fingerprint="f" * 64,
        dataset=dataset,
        classes=list(classes),
        params={"seed": 1, "model": settings.model_dump(mode="json")},
        preprocessing=Preprocessing(settings.input_size, settings.crop_pct, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)),
        epoch=3,
        metrics={"val_loss": 0.5, "val_accuracy": 0.75},
        state_dict=network.state_dict(),
    )


def prepare_export(folder: Path, settings: config.Model | None = None, scale: float = 1) -> tuple[Checkpoint, Dataset]:
    """What the export stage reads below a folder, but for what `test` wrote: rows 0 to 5 are test, 6 to 11 train.

    scale: of the network's last layer.
    """
    dataset = save_dataset(folder / "data/dataset", list(random_pixels(12, 16, 16, 3)))
    splits = np.array([2] * 6 + [0] * 6, np.int8)
    write_splits(dataset.column("id"), dataset.labels, splits, folder / "data/splits.parquet")
    checkpoint = make_checkpoint(settings or model_settings(), dataset=dataset.digest)
    scale_head(checkpoint, scale)
    save_checkpoint(checkpoint, folder / BEST)
    known = {"fingerprint": checkpoint.fingerprint, "dataset": dataset.digest, "splits": "5" * 64, "weights": None}
    trained = known | {"params": checkpoint.params, "precision": "32-true", "processes": 1, "code": {}, "versions": {}}
    write_json(folder / "reports/train/fingerprint.json", trained)
    return checkpoint, dataset


def scale_head(checkpoint: Checkpoint, scale: float) -> None:
    """Make its logits so many times as large; of the cnn, airbench and resnet18."""
    head = [name for name in checkpoint.state_dict if name.startswith(("classes.", "fc.", "head."))]
    assert head
    for name in head:
        checkpoint.state_dict[name] = checkpoint.state_dict[name] * scale


def expected_logits(checkpoint: Checkpoint, dataset: Dataset) -> np.ndarray:
    """What `test` finds for the six test rows of `prepare_export`."""
    reference = PixelClassifier(checkpoint.network(), checkpoint.preprocessing).eval()
    with torch.inference_mode():
        return reference(torch.from_numpy(np.stack([dataset.pixels(row) for row in range(6)])))[0].numpy()


def write_test_reports(dataset: Dataset, logits: np.ndarray) -> None:
    """What the export stage reads of `test`, below the working directory."""
    Path("reports/test").mkdir(parents=True, exist_ok=True)
    accuracy = float((logits.argmax(1) == dataset.labels[:6]).mean())
    Path("reports/test/metrics.json").write_text(json.dumps({"accuracy": accuracy}))
    table = pa.table({"id": pa.array(dataset.column("id")[:6], pa.string()), "logits": list(logits)})
    pq.write_table(table, "reports/test/predictions.parquet")
    pq.write_table(table.select(["logits"]), "reports/test/reference.parquet")  # only its digest is taken
    write_logits(dataset.column("id")[:0], dataset.labels[:0], logits[:0])  # there is no validation split
