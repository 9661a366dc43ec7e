"""A data set that trains in a second: 90 images of 16×16 pixels, three colours with noise, the class in the name."""

from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import yaml

from lightline.config.load import check_params
from lightline.config.params import Params
from lightline.data.dataset import Dataset, Row, write_dataset
from lightline.data.splits import read_splits, write_splits
from lightline.runtime.tracking import Run
from lightline.runtime.training_folder import forget, training_folder
from lightline_predict import images
from lightline_predict.images import pixel_digest
from stages.split.strategies import Columns, assign
from stages.train.fit import Task, fit, write_outputs
from stages.train.start import start
from stages.train.state_files import newest_state
from stages.train.trainer import build_trainer
from tests.support import ROOT

CLASSES = ("blue", "green", "red")
NUM_IMAGES = 90
SGD = {
    "name": "sgd", "lr": 0.01, "layer_decay": 1.0, "layer_decay_no_opt_scale": 0.0, "momentum": 0.9, "nesterov": True,
    "weight_decay": 0.0,
}  # fmt: skip
MUON = {
    "name": "muon", "lr": 0.02, "momentum": 0.95, "nesterov": True, "ns_steps": 5, "weight_decay": 0.0,
    "adamw_lr": 0.001,
}  # fmt: skip


@cache
def _params() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def tiny_params(**changes: Any) -> Params:
    """params.yaml for the tiny set, two epochs; changes: trainer__max_epochs=1 sets trainer.max_epochs."""
    values = deepcopy(_params())
    basis = {
        "model__input_size": 16,
        "trainer__max_epochs": 2,
        "trainer__batch_size": 16,
        "trainer__ema_decay": None,
        "trainer__monitor": "val_accuracy",
        "tracking__mode": "disabled",
        "hardware__accelerator": "cpu",
        "hardware__devices": 1,
    }
    for name, value in (basis | changes).items():
        *sections, key = name.split("__")
        section = values
        for part in sections:
            section = section[part]
        section[key] = value
    return check_params(values, "tiny")


def tiny_task(params: Params) -> Task:
    """The tiny set and its split, written below the working directory."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(NUM_IMAGES):
        label = number % len(CLASSES)
        pixels = rng.integers(0, 120, (16, 16, 3), dtype=np.uint8)
        pixels[..., 2 - label] += 100
        rows.append(Row(f"{number:03d}", images.encode(pixels), CLASSES[label], 16, 16, pixel_digest(pixels)))
    write_dataset(rows, CLASSES)
    columns = Columns.of(Dataset())
    write_splits(columns.ids, columns.labels, assign(columns, params.split, params.seed))
    return Task(start(params, len(CLASSES)), Dataset(), read_splits(), "f" * 64)


def train(params: Params) -> tuple[Task, dict[str, Any]]:
    """Train on the tiny set and write the outputs, as the train stage does; gives the metrics of the best epoch."""
    task = tiny_task(params)
    with training_folder(task.fingerprint, params.model_dump(mode="json")) as folder:
        metrics = write_outputs(task, fit(task, build_trainer(params), folder, newest_state(folder), Run()))
    forget(task.fingerprint)
    return task, metrics
