"""An image: whether it is in the data, on which side of the split, and which models saw it."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

from commands.tracing.lineage import FINGERPRINT, section_of
from commands.tracing.objects import Objects
from commands.tracing.records import Record
from lightline.errors import DataError
from lightline_predict import images

DATASET, SPLITS = "data/dataset", "data/splits.parquet"
_SAW = {"train": "trained on it", "val": "chosen by it", "test": "tested on it", "excluded": "without it"}


def is_picture(path: Path) -> bool:
    """Tell whether a file is an image, of the kinds that training reads."""
    from PIL import Image

    try:
        with Image.open(path):
            return True
    except Exception:  # Pillow's readers raise whatever they stumble over
        return False


def trace_picture(path: Path, records: list[Record], objects: Objects) -> tuple[dict[str, Any], list[Record]]:
    """Say where an image is in the data of records, by its pixels, however the file is packed, and which these are.

    Raises:
        DataError: it is in none of them, or cannot be decoded.
    """
    found: list[dict[str, Any]] = []
    those: list[Record] = []
    missing, models = 0, set()
    digests: dict[int, str] = {}
    known: dict[tuple[str | None, ...], list[dict[str, Any]] | None] = {}  # rows, by data and split
    for record in records:
        data, split, model = (record.md5_of(name) for name in (DATASET, SPLITS, FINGERPRINT))
        if data is None or (data, split, model) in models:
            continue
        models.add((data, split, model))
        if (data, split) not in known:
            known[data, split] = _look(path, record, objects, digests)
        rows = known[data, split]
        missing += rows is None
        if rows:
            found.append({**_model(record, objects), "rows": rows})
            those.append(record)
    if not found:
        other = (
            f" The data of {missing} more lie nowhere here; `dvc pull --all-commits` brings them." if missing else ""
        )
        raise DataError(
            f"{path} is in no data that is known here: no image has the same pixels in the data of "
            f"{len(models) - missing} models, of the workspace, HEAD, experiments, tags, branches and what came before "
            f"them.{other}"
        )
    told = {"path": str(path), "kind": "image"}
    return {"file": told, "pixels": next(iter(digests.values())), "models": found}, those


def _look(path: Path, record: Record, objects: Objects, digests: dict[int, str]) -> list[dict[str, Any]] | None:
    """List the rows of an image in the data of a record; None where those do not lie here.

    digests: of its pixels, by bit depth; filled here.
    """
    data = _Data.of(record, objects)
    if data is None:
        return None
    if data.bit_depth not in digests:
        limit = section_of(record, "data").get("max_pixels", images.Reading().max_pixels)
        try:
            digests[data.bit_depth] = images.pixel_digest(images.check(path.read_bytes(), limit, data.bit_depth).pixels)
        except images.UnusableImageError as error:
            raise DataError(f"{path} cannot be looked for: {error}.") from None
    return data.rows(digests[data.bit_depth])


def _model(record: Record, objects: Objects) -> dict[str, Any]:
    known = objects.json(record, FINGERPRINT, anywhere=False) or {}
    told = {"run": record.title, "commit": record.commit, "was_trained": record.md5_of(FINGERPRINT) is not None}
    return {**told, "fingerprint": known.get("fingerprint")}


class _Data:
    """The images of a record: digests of their pixels, and sides of the split."""

    def __init__(self, index: Path, summary: dict[str, Any], splits: bytes | None):
        self._index, self._splits = index, splits
        self._classes: list[str] = summary["classes"]
        self.bit_depth: int = summary.get("bit_depth", images.DEEPEST)

    @classmethod
    def of(cls, record: Record, objects: Objects) -> "_Data | None":
        files = objects.folder(record.outputs[DATASET])
        index, summary = files.get("index.parquet"), files.get("dataset.json")
        if index is None or summary is None:
            return None
        return cls(index, json.loads(summary.read_bytes()), objects.read(record, SPLITS))

    def rows(self, digest: str) -> list[dict[str, Any]]:
        """List the images of these pixels: id, class, side of the split, and what that means for the model."""
        import pyarrow.parquet as pq

        columns = ["id", "label", "test_label", "dropped"]
        found = pq.read_table(self._index, columns=columns, filters=[("digest", "=", digest)]).to_pylist()
        sides = self._sides([row["id"] for row in found])
        rows = []
        for row in found:
            side = sides.get(row["id"])
            label = row["test_label"] if side == "test" else row["label"]
            rows.append({"id": row["id"], "class": self._classes[label], "split": side, "model": _SAW.get(side or "")})
        return rows

    def _sides(self, ids: list[str]) -> dict[str, str]:
        import pyarrow.parquet as pq

        if not ids or self._splits is None:
            return {}
        table = pq.read_table(BytesIO(self._splits), columns=["id", "split"], filters=[("id", "in", ids)])
        return {row["id"]: row["split"] for row in table.to_pylist()}
