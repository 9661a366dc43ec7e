"""What the test images look like to the classifier: the reference that images which come later are compared with."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline.data.dataset import Dataset
from lightline.files import whole_file
from lightline.models.temperature import probabilities
from stages.test.measures import measure

REFERENCE = Path("reports/test/reference.parquet")
MOST = 2_000  # images: as many as a comparison can make use of


def write_reference(
    logits: np.ndarray,
    temperature: float,
    embeddings: np.ndarray,
    dataset: Dataset,
    rows: np.ndarray,
    path: Path = REFERENCE,
) -> None:
    """Write a row an image, of MOST at random where there are more, in columns named as those of a served file's log.

    probabilities: as the model file gives them. embedding: float32, what the last layer takes, null where it has none.
    brightness, contrast, sharpness: see `measures`. width, height: pixels.

    logits: float [images, classes]. embeddings: float [images, features]. rows: int [images], in the dataset.
    """
    chosen = np.arange(len(rows))
    if len(rows) > MOST:
        chosen = np.sort(np.random.default_rng(0).choice(len(rows), MOST, replace=False))
    measured = measure(dataset, rows[chosen])
    features = embeddings[chosen].astype(np.float32)
    table = pa.table(
        {
            "probabilities": pa.array(
                list(probabilities(logits[chosen], temperature).astype(np.float32)), pa.list_(pa.float32())
            ),
            "embedding": pa.array(list(features) if features.size else [None] * len(chosen), pa.list_(pa.float32())),
            **{name: pa.array(measured[name]) for name in ("brightness", "contrast", "sharpness")},
            **{side: pa.array(dataset.column(side)[rows[chosen]], pa.int32()) for side in ("width", "height")},
        }
    )
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
