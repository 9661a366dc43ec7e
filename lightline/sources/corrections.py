"""Labels that people have corrected: a file beside the source, whose own files stay as they are.

A CSV or Parquet file with columns id, label (`drop`: leave the image out) and, as wanted, split; more are notes. The
images that judge a model, those of test, are corrected only where split says test: whoever cleans the images that a
model is wrong on must not thereby make it better.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lightline.data.dataset import Row
from lightline.errors import DataError, some
from lightline.sources.names import class_named
from lightline.sources.table_file import column_names, read_columns

DROP = "drop"
_SHOWN = 5  # ids or classes named in a message


@dataclass(frozen=True)
class Correction:
    """label: the right class; None: leave the image out. in_test: where it is in test, too."""

    label: str | None
    in_test: bool


class Corrections:
    """What a file of them says.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path):
        """Read a file.

        Raises:
            DataError: it cannot be read or is no table, lacks a column, or says two things of one image.
        """
        self.path = path
        optional = [name for name in ("split",) if name in column_names(path, ["id", "label"])]
        columns = read_columns(path, ["id", "label", *optional])
        splits = columns.get("split", [None] * len(columns["id"]))
        self._by_id: dict[str, Correction] = {}
        for number, (name, label, split) in enumerate(zip(columns["id"], columns["label"], splits, strict=True), 1):
            self._add(number, name, label, split)

    def _add(self, number: int, name: str | None, label: str | None, split: str | None) -> None:
        if not name or not label:
            raise DataError(f"{self.path}: row {number} has no {'label' if name else 'id'}.")
        correction = Correction(None if label == DROP else class_named(label), (split or "").strip().lower() == "test")
        if self._by_id.setdefault(name, correction) != correction:
            raise DataError(f"{self.path}: row {number} says something else of {name!r} than a row before.")

    def apply(self, row: Row) -> Row:
        """Correct one image of the source."""
        found = self._by_id.get(row.id)
        if found is None:
            return row
        if found.label is None:
            return replace(row, dropped="all" if found.in_test else "train")
        return replace(row, class_name=found.label, test_class=None if found.in_test else row.class_name)

    def check(self, ids: Iterable[str], classes: Iterable[str]) -> None:
        """Check that what it names is there; ids, classes: what the source has.

        Raises:
            DataError: it names an image or a class that is not.
        """
        if unknown := sorted(self._by_id.keys() - set(ids)):
            names = some([repr(name) for name in unknown], _SHOWN)
            raise DataError(f"{self.path} names what the source does not have: {names}. Ids are as in the reports.")
        known = set(classes)
        if DROP in known and any(one.label is None for one in self._by_id.values()):
            raise DataError(
                f"{self.path} has the label {DROP}, which leaves an image out, and the source has a class of that "
                "name: rename the class."
            )
        labels = {one.label for one in self._by_id.values() if one.label is not None}
        if wrong := sorted(labels - known):
            allowed = some(sorted(map(repr, known)), 2 * _SHOWN)
            raise DataError(
                f"{self.path} has the label {some([repr(name) for name in wrong], _SHOWN)}, which is no class of the "
                f"source; there are {allowed}, and {DROP} to leave an image out."
            )
