"""What the page is made of: read from what the earlier stages wrote."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline.data.attributes import SLICE
from lightline.data.dataset import Dataset
from lightline.data.splits import Splits, read_splits
from lightline.errors import DataError
from lightline.model_file.decision import Answers, Decision
from lightline.model_file.decision_metadata import read_decision
from lightline.models.checkpoint import BEST, Checkpoint, load_checkpoint
from lightline.models.label_errors import label_quality, suspects
from lightline_predict.classifier import Classifier

REPORTS, MODEL = Path("reports"), Path("models/model.onnx")
Row = dict[str, str]


@dataclass(frozen=True)
class Findings:
    """All that is known of the model; arrays are of the test images, in the order of the split.

    rows: int64 [images], in the dataset. logits: float32 [images, classes]. embeddings: float [images, features], of no
    features where the network has none. columns: what images have in common, a text or None each, by name. answers:
    what the model file makes of the logits. suspect: float [images], how well the given label fits, 0 to 1, of those
    that are most likely wrong; else infinite. metrics, tables: what lies in reports/ by these names, as json and csv.
    """

    dataset: Dataset
    splits: Splits
    checkpoint: Checkpoint
    decision: Decision
    rows: np.ndarray
    ids: list[str]
    labels: np.ndarray
    logits: np.ndarray
    embeddings: np.ndarray
    columns: dict[str, list[str | None]]
    answers: Answers
    suspect: np.ndarray
    metrics: dict[str, dict[str, Any]]
    tables: dict[str, list[Row]]

    @property
    def predicted(self) -> np.ndarray:
        """int64 [images]: positions in classes."""
        return self.logits.argmax(1)

    @property
    def correct(self) -> np.ndarray:
        """bool [images]."""
        return self.predicted == self.labels


def read_findings() -> Findings:
    """Read them below the working directory.

    Raises:
        DataError: what was written is not of one model.
    """
    dataset, splits, checkpoint = Dataset(), read_splits(), load_checkpoint(BEST)
    checkpoint.check_dataset(dataset)
    file = Classifier(MODEL, 1)
    if file.metadata["fingerprint"] != checkpoint.fingerprint:
        raise DataError(f"{MODEL} was not exported from {BEST}; `dvc repro` brings them together.")
    table = pq.read_table(REPORTS / "test/predictions.parquet")
    logits, labels = np.stack(table["logits"].to_numpy()), table["label"].to_numpy()
    decision = read_decision(file.metadata)
    answers = decision.answers(logits)
    suspect = np.where(suspects(answers.probabilities, labels), label_quality(answers.probabilities, labels), np.inf)
    names = ("download/summary", "split/summary", "test/metrics", "export/metrics")
    listed = (
        *("download/classes", "download/rejected", "split/classes", "split/duplicates", "split/near_copies"),
        *("train/history", "test/per_class", "test/slices", "test/calibration_before", "test/calibration_after"),
        "export/latency",
    )
    return Findings(
        dataset, splits, checkpoint, decision, splits.rows("test"), table["id"].to_pylist(), labels, logits,
        np.load(REPORTS / "test/embeddings.npy").astype(np.float32), _columns(table), answers, suspect,
        {name: json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8")) for name in names},
        {name: _read_csv(REPORTS / f"{name}.csv") for name in listed},
    )  # fmt: skip


def _columns(table: pa.Table) -> dict[str, list[str | None]]:
    names = [name for name in table.column_names if name.startswith(SLICE)]
    return {name.removeprefix(SLICE): table[name].to_pylist() for name in names}


def _read_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
