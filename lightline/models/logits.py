"""A model's logits for a split, kept in a file so that later stages need not read its images."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightline.errors import DataError
from lightline.files import whole_file

VAL_LOGITS = Path("reports/train/val_logits.parquet")
_SCHEMA = pa.schema([("id", pa.string()), ("label", pa.int32()), ("logits", pa.list_(pa.float32()))])


def write_logits(ids: np.ndarray, labels: np.ndarray, logits: np.ndarray, path: Path = VAL_LOGITS) -> None:
    """Write ids, texts [images], labels, int [images], and logits, float [images, classes]."""
    table = pa.table([pa.array(ids, pa.string()), labels, list(logits)], schema=_SCHEMA)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary)


def read_logits(path: Path = VAL_LOGITS) -> tuple[np.ndarray, np.ndarray]:
    """Read float32 logits [images, classes] and int32 labels [images].

    Raises:
        DataError: the file is missing.
    """
    try:
        table = pq.read_table(path, schema=_SCHEMA)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; `dvc repro train` writes it.") from None
    logits = table["logits"].to_numpy()
    return np.stack(logits) if len(logits) else np.zeros((0, 0), np.float32), table["label"].to_numpy()
