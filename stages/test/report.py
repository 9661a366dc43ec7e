"""Write down an evaluation: reports/test/, numbers, tables, every prediction and three figures."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline.data.attributes import SLICE
from lightline.data.dataset import Dataset
from lightline.files import whole_file, write_csv, write_json
from stages.test.calibration import Bin
from stages.test.evaluate import Evaluation
from stages.test.figures import Mistake, draw_confusion, draw_mistakes, draw_reliability
from stages.test.metrics import SCORES
from stages.test.slices import Slice

REPORTS = Path("reports/test")
_DIGITS = 6  # decimal places; further ones are rounding of the arithmetic


def write_report(evaluation: Evaluation, dataset: Dataset, rows: np.ndarray, num_mistakes: int) -> None:
    """Write all; rows: int [images], where the judged images stand in the dataset; num_mistakes: in the figure."""
    write_json(REPORTS / "metrics.json", {name: _rounded(value) for name, value in evaluation.metrics.items()})
    _write_predictions(evaluation, dataset.column("id")[rows])
    columns = ("name", "images", *SCORES)
    scores = [[_rounded(getattr(score, column)) for column in columns] for score in evaluation.scores]
    write_csv(REPORTS / "per_class.csv", ("class", *columns[1:]), scores)
    names = np.array(evaluation.classes, object)
    pairs = zip(names[evaluation.labels], names[evaluation.predicted], strict=True)
    write_csv(REPORTS / "confusion.csv", ("actual", "predicted"), pairs)
    names_of = [field.name for field in fields(Slice)]
    slices = [[_rounded(getattr(one, column)) for column in names_of] for one in evaluation.slices]
    write_csv(REPORTS / "slices.csv", names_of, slices)
    _write_bins(evaluation.before, "calibration_before.csv")
    _write_bins(evaluation.after, "calibration_after.csv")
    _draw(evaluation, dataset, rows, num_mistakes)


def write_embeddings(embeddings: np.ndarray) -> None:
    """Write them, float [images, features], in the order of the predictions; 16 bits are as many as maps can show."""
    with whole_file(REPORTS / "embeddings.npy") as temporary, temporary.open("wb") as file:
        np.save(file, embeddings.astype(np.float16))


def _write_predictions(evaluation: Evaluation, ids: np.ndarray) -> None:
    names = np.array(evaluation.classes, object)
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "label": pa.array(evaluation.labels, pa.int32()),
            "predicted": pa.array(evaluation.predicted, pa.int32()),
            "class": pa.array(names[evaluation.labels], pa.string()),
            "predicted_class": pa.array(names[evaluation.predicted], pa.string()),
            "probability": pa.array(evaluation.probability),  # of the predicted class, by the plain softmax
            "confidence": pa.array(evaluation.confidence),  # the same after temperature scaling, as in the model file
            "logits": pa.array(list(evaluation.logits), pa.list_(pa.float32())),
            **{f"{SLICE}{name}": pa.array(column, pa.string()) for name, column in evaluation.columns.items()},
        }
    )
    with whole_file(REPORTS / "predictions.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _write_bins(bins: list[Bin], name: str) -> None:
    columns = ("low", "high", "confidence", "accuracy", "images")
    lines = [[_rounded(getattr(one, column)) for column in columns] for one in bins]
    write_csv(REPORTS / name, ("bin_low", "bin_high", *columns[2:]), lines)


def _draw(evaluation: Evaluation, dataset: Dataset, rows: np.ndarray, num_mistakes: int) -> None:
    wrong = np.flatnonzero(evaluation.predicted != evaluation.labels)
    worst = wrong[np.argsort(-evaluation.confidence[wrong], kind="stable")][:num_mistakes]
    mistakes = [
        Mistake(
            dataset.pixels(int(rows[number])),
            evaluation.classes[evaluation.predicted[number]],
            evaluation.classes[evaluation.labels[number]],
            float(evaluation.confidence[number]),
        )
        for number in worst
    ]
    shown = f", the {len(worst)} most confident" if len(worst) < len(wrong) else ""
    title = f"{len(wrong):,} of {len(rows):,} test images are wrong{shown}" if len(wrong) else "No test image is wrong"
    draw_mistakes(mistakes, title, REPORTS / "mistakes.png")
    before, after = evaluation.metrics["ece"], evaluation.metrics["calibrated_ece"]
    labels = (f"as it is, ECE {before:.3f}", f"temperature {evaluation.metrics['temperature']:.2f}, ECE {after:.3f}")
    draw_reliability(evaluation.before, evaluation.after, labels, REPORTS / "calibration.png")
    draw_confusion(evaluation.confusion, evaluation.classes, REPORTS / "confusion.png")


def _rounded(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value
