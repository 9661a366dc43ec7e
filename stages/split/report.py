"""What a split looks like, for a person: counts, exact duplicates, and what to be warned of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightline.data.dataset import codes
from lightline.data.splits import EXCLUDED, NAMES, TRAIN
from lightline.errors import some
from lightline.files import write_csv, write_json
from stages.split.near_copies import NearCopies
from stages.split.strategies import DUPLICATES, Columns

REPORTS = DUPLICATES.parent
_NEAR_COPIES = REPORTS / "near_copies.csv"
_SHOWN = 10  # classes named in a warning
_PAIRS_SHOWN = 3
_FEW = 10  # training images of a class, or fewer, from which little can be learned


@dataclass(frozen=True)
class Report:
    """
    counts: int64 [classes, len(NAMES)], images.
    duplicates: int64, the rows that have an exact copy, copies one after the other.
    digest: int64 [rows], equal for exact duplicates.
    mislabelled: int64, the digests whose copies have different labels.
    leakage: digests that stand in more than one split; 0 unless there is a bug.
    divided_groups: groups of the source that stand in more than one split.
    near: what looks nearly the same in different splits.
    """

    columns: Columns
    splits: np.ndarray
    counts: np.ndarray
    duplicates: np.ndarray
    digest: np.ndarray
    mislabelled: np.ndarray
    leakage: int
    divided_groups: int
    near: NearCopies

    @classmethod
    def of(cls, columns: Columns, splits: np.ndarray, near: NearCopies) -> "Report":
        """Make the report of a split. splits: int8 [rows], positions in NAMES."""
        digest = codes(columns.digests)
        cell = columns.labels.astype(np.int64) * len(NAMES) + splits
        counts = np.bincount(cell, minlength=len(columns.classes) * len(NAMES)).reshape(-1, len(NAMES))
        rows = np.flatnonzero(np.bincount(digest)[digest] > 1)
        duplicates = rows[np.argsort(digest[rows], kind="stable")]
        mislabelled = _divided(digest[rows], columns.labels[rows])
        used = splits != EXCLUDED
        groups = codes(columns.groups)
        grouped = used & (groups >= 0)
        return cls(
            columns,
            splits,
            counts,
            duplicates,
            digest,
            mislabelled,
            leakage=len(_divided(digest[used], splits[used])),
            divided_groups=len(_divided(groups[grouped], splits[grouped])),
            near=near,
        )

    def summary(self) -> dict[str, Any]:
        """Give plain JSON: images of each split, and what is odd about them."""
        return {
            **{f"{name}_images": int(number) for name, number in zip(NAMES, self.counts.sum(axis=0), strict=True)},
            "duplicates": len(self.duplicates) - len(np.unique(self.digest[self.duplicates])),
            "label_conflicts": len(self.mislabelled),
            "leakage": self.leakage,
            "near_copies": len(self.near.judged),
            "divided_groups": self.divided_groups,
        }

    def warnings(self) -> list[str]:
        """Give one sentence or two for each thing that a person should know."""
        found = []
        if number := int(self.counts[:, EXCLUDED].sum()):
            found.append(
                f"{number} images that the source also has in a split that judges them (test before val before "
                f"train) are excluded from the weaker split; {DUPLICATES} lists them."
            )
        if number := len(self.mislabelled):
            found.append(f"{number} pictures occur under different labels; {DUPLICATES} lists them.")
        if number := len(self.near.judged):
            pairs = "; ".join(f"{judged} and {other}" for judged, other in self._near_ids()[:_PAIRS_SHOWN])
            found.append(
                f"{'1 image looks' if number == 1 else f'{number} images look'} nearly like one in a weaker split, "
                f"which flatters the metrics ({_NEAR_COPIES}): {pairs}{' …' * (number > _PAIRS_SHOWN)}."
            )
        if self.divided_groups:
            found.append(
                f"{self.divided_groups} groups of the source stand in more than one split; "
                "split=group keeps them together."
            )
        for number, name in enumerate(NAMES[:EXCLUDED]):
            missing = np.flatnonzero(self.counts[:, number] == 0)
            if 0 < len(missing) < len(self.counts):
                names = some([self.columns.classes[label] for label in missing], _SHOWN)
                found.append(f"{name} has no image of {len(missing)} classes: {names}.")
        return found + self._few()

    def _few(self) -> list[str]:
        """Warn of classes with hardly an image to learn from, if there are any."""
        training = self.counts[:, TRAIN]
        few = np.flatnonzero((training > 0) & (training <= _FEW))
        if len(few) == 0:
            return []
        names = some([f"{self.columns.classes[label]} ({training[label]})" for label in few], _SHOWN)
        return [
            f"{len(few)} of {len(training)} classes have {_FEW} training images or fewer: {names}. So few teach "
            "and prove little; add images, and try recipe=fine_tune."
        ]

    def write(self, folder: Path = REPORTS) -> None:
        """Write summary.json, classes.csv (class × split), duplicates.csv and near_copies.csv."""
        write_json(folder / "summary.json", self.summary())
        rows = zip(self.columns.classes, self.counts.tolist(), strict=True)
        write_csv(folder / "classes.csv", ("class", *NAMES), ((name, *counts) for name, counts in rows))
        self.write_duplicates(folder)
        header = ("difference", "id", "class", "split", "like_id", "like_class", "like_split")
        write_csv(folder / _NEAR_COPIES.name, header, self._near_rows())

    def write_duplicates(self, folder: Path = REPORTS) -> None:
        """Write duplicates.csv alone, for a split that is refused because of them."""
        write_csv(folder / DUPLICATES.name, ("copies_of", "id", "class", "split", "label_conflict"), self._copies())

    def _copies(self) -> list[tuple[int, str, str, str, bool]]:
        """Make a row for each image that has a copy; copies of one image have the same number."""
        numbers = codes(self.digest[self.duplicates]) + 1
        conflicts = np.isin(self.digest[self.duplicates], self.mislabelled)
        return [
            (
                int(number),
                str(self.columns.ids[row]),
                self.columns.classes[self.columns.labels[row]],
                NAMES[self.splits[row]],
                bool(conflict),
            )
            for number, row, conflict in zip(numbers, self.duplicates, conflicts, strict=True)
        ]

    def _near_ids(self) -> list[tuple[str, str]]:
        ids = self.columns.ids
        return list(zip(ids[self.near.judged], ids[self.near.resembled], strict=True))

    def _near_rows(self) -> list[tuple[str, ...]]:
        """Make a row for each pair, the likest first."""
        return [
            (f"{difference:.3f}", *self._described(judged), *self._described(resembled))
            for judged, resembled, difference in zip(*self.near, strict=True)
        ]

    def _described(self, row: int) -> tuple[str, str, str]:
        return self.columns.ids[row], self.columns.classes[self.columns.labels[row]], NAMES[self.splits[row]]


def _divided(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Find the keys that occur with more than one value."""
    pairs = np.unique(np.stack([keys, values.astype(np.int64)]), axis=1)
    unique, count = np.unique(pairs[0], return_counts=True)
    return unique[count > 1]
