"""Logs of a served model, and what they are compared with, made of given images."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq

from commands.monitoring.images import Images
from lightline.files import file_digest

FINGERPRINT = "f" * 64
DAY = datetime(2026, 3, 2, tzinfo=UTC)


def some_images(count: int, seed: int, classes: int = 3, darker: float = 0, embedding: int | None = None) -> Images:
    """Answers for images that are alike but for their seed; darker: by so many deviations of the brightness."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Images(
        probabilities.astype(np.float32),
        None if embedding is None else rng.normal(0, 1, (count, embedding)).astype(np.float32),
        rng.normal(120 - 20 * darker, 20, count),
        rng.normal(50, 10, count),
        rng.normal(30, 5, count),
        np.full(count, 32.0),
    )


def _columns(images: Images) -> dict[str, pa.Array]:
    side = pa.array(images.size.astype(np.int32))
    lists = pa.list_(pa.float32())
    return {
        "probabilities": pa.array(list(images.probabilities), lists),
        "embedding": pa.array([None] * len(images) if images.embedding is None else list(images.embedding), lists),
        **{name: pa.array(getattr(images, name)) for name in ("brightness", "contrast", "sharpness")},
        "width": side,
        "height": side,
    }


def write_log(folder: Path, images: Images, day: datetime = DAY, model: str = FINGERPRINT, name: str = "09-1") -> Path:
    """A file of a log as `lightline-predict serve --log` writes it, of images that came in an hour of a day."""
    times = [day + timedelta(hours=9, seconds=3_600 * number / len(images)) for number in range(len(images))]
    best = images.probabilities.argmax(1)
    table = pa.table(
        {
            "time": pa.array(times, pa.timestamp("ms", "UTC")),
            "digest": [f"{number:064x}" for number in range(len(images))],
            "model": [model] * len(images),
            "predicted": [str(number) for number in best],
            "confidence": images.confidence,
            "accepted": np.ones(len(images), bool),
            **_columns(images),
        }
    )
    file = folder / f"{day:%Y-%m-%d}" / f"{name}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return file


def write_model(exported: Path, project: Path, images: Images) -> None:
    """A model file in a project, and these images as the reference beside it."""
    reference = project / "reports/test/reference.parquet"
    reference.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(_columns(images)), reference)
    model = onnx.load(exported)
    model.metadata_props.add(key="reference", value=file_digest(reference))
    (project / "models").mkdir(exist_ok=True)
    onnx.save(model, project / "models/model.onnx")
