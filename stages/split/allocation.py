"""Divide rows into parts: stratified by class, sets of rows that belong together undivided, the same for every order.

Of six rows, of which the first two belong together, into train and test by halves:

    labels  0 0 0 0 1 1      what each row shows
    sets    0 0 1 2 3 4      which rows belong together
    table   set 0: two rows of class 0; sets 1, 2: one of class 0 each; sets 3, 4: one of class 1 each
    missing [[2 1], [2 1]]   rows of each class (column) that each part (row) is to get; falls as sets are placed
    parts   0 1 1 1 0        of each set → 0 0 1 1 1 0, of each row

Each set draws a random key from the seed and its smallest id alone, and sizes are rounded class by class, so that
images added later do not reshuffle the others. Sets of several rows are placed first, in key order, each where it is
missed most; single rows then fill up each class, to within one. Most duplicates therefore end up in the largest part:
train.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightline.data.dataset import codes

_GOLDEN = (5**0.5 - 1) / 2  # its multiples fill [0, 1) evenly, however many there are


class TooFewSetsError(Exception):
    """Classes that cannot be in every part.

    num_sets: class → its number of sets that can be placed independently.
    """

    def __init__(self, num_sets: dict[int, int]):
        super().__init__(num_sets)
        self.num_sets = num_sets


def sets_of(digests: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Give rows of equal digest, and rows of equal group where there are groups, the same set number: int64 [rows].

    digests, groups: texts [rows]; a row whose group is None is tied to nothing but its duplicates.
    """
    digest = codes(digests)
    if groups is None:
        return digest
    group = codes(groups)
    tied = np.flatnonzero(group >= 0)
    if len(tied) == 0:
        return digest
    from scipy.sparse import coo_array  # half a second, needed only where there are groups
    from scipy.sparse.csgraph import connected_components

    # A graph whose nodes are the digests and the groups; each row is an edge between its two.
    num_digests, num_groups = digest.max() + 1, group.max() + 1
    edges = (np.ones(len(tied), np.int8), (digest[tied], num_digests + group[tied]))
    size = num_digests + num_groups
    _, component = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    return codes(component[digest])


def set_keys(ids: np.ndarray, sets: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """Draw random numbers, uint64 [sets], that depend on the seed, the purpose and the set's first id only.

    ids: texts [rows], sorted. sets: numbered in order of appearance.
    """
    _, first = np.unique(sets, return_index=True)
    start = hashlib.blake2b(f"{seed}\0{purpose}\0".encode(), digest_size=8)
    keys = bytearray()
    for name in ids[first]:
        key = start.copy()
        key.update(name.encode())
        keys += key.digest()
    return np.frombuffer(bytes(keys), dtype="<u8")


@dataclass(frozen=True)
class _Table:
    """How many rows of which class each set has: three columns, a row for each pair that occurs, ordered by set."""

    set: np.ndarray
    label: np.ndarray
    count: np.ndarray
    num_classes: int

    @classmethod
    def of(cls, labels: np.ndarray, sets: np.ndarray, num_classes: int) -> "_Table":
        pairs, count = np.unique(sets * num_classes + labels, return_counts=True)
        return cls(*np.divmod(pairs, num_classes), count, num_classes)

    def rows_per_class(self) -> np.ndarray:
        return np.bincount(self.label, self.count, self.num_classes).astype(np.int64)

    def sets_per_class(self) -> np.ndarray:
        return np.bincount(self.label, minlength=self.num_classes)


def allocate(
    labels: np.ndarray, sets: np.ndarray, keys: np.ndarray, fractions: Sequence[float], num_classes: int
) -> np.ndarray:
    """Choose the number of the part each row falls into: int8 [rows].

    labels: int [rows], positions in the classes.
    sets: int64 [rows], numbered from 0 without gaps; rows with the same number stay together.
    keys: [sets], the order in which sets are placed.
    fractions: size of each part, all above 0, sum 1. Of three, the largest belongs into the middle: a row that is added
        then moves one other, where it would move one across each border between its part and the one that grows.

    Raises:
        TooFewSetsError: a class has fewer independent sets than there are parts.
    """
    order = np.argsort(keys, kind="stable")
    table = _Table.of(labels.astype(np.int64), sets, num_classes)
    num_sets = table.sets_per_class()
    if (num_sets < len(fractions)).any():
        raise TooFewSetsError({int(label): int(num_sets[label]) for label in np.flatnonzero(num_sets < len(fractions))})
    missing = _targets(table.rows_per_class(), fractions)
    sizes = np.bincount(sets)
    parts = np.full(len(sizes), -1, np.int8)
    _place(order[sizes[order] > 1], table, missing, parts)
    _fill(order[sizes[order] == 1], table, missing, parts)
    _mend(table, sizes, parts, len(fractions))
    return parts[sets]


def _targets(rows: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Compute the rows of each class in each part: int64 [parts, classes], at least 1, to within one.

    Every part but the largest is rounded by itself, and every class, so that a row more leaves the others as they are.
    """
    # From where on a part of a row is a row: spread evenly, or all small classes would be rounded the same way.
    phases = (0.5 + _GOLDEN * np.arange(len(rows))) % 1
    largest = int(np.argmax(fractions))
    others = [part for part in range(len(fractions)) if part != largest]
    targets = np.zeros((len(fractions), len(rows)), np.int64)
    for number, part in enumerate(others):  # not all at the same number of rows
        targets[part] = np.floor(fractions[part] * rows + (phases + number / len(others)) % 1)
    targets[largest] = rows - targets.sum(axis=0)
    while len(poor := np.flatnonzero((targets < 1).any(axis=0))):
        targets[targets[:, poor].argmin(axis=0), poor] += 1
        targets[targets[:, poor].argmax(axis=0), poor] -= 1
    return targets


def _place(order: np.ndarray, table: _Table, missing: np.ndarray, parts: np.ndarray) -> None:
    """Put each set where the square of what is missing, in parts of each class, falls most; updates missing, parts."""
    if len(order) == 0:
        return
    start = np.searchsorted(table.set, np.arange(len(parts) + 1)).tolist()
    label, count = table.label.tolist(), table.count.tolist()
    weight = (1 / np.maximum(table.rows_per_class(), 1)).tolist()
    left = missing.tolist()
    for number in order.tolist():
        pairs = range(start[number], start[number + 1])
        needs = [sum(count[pair] * weight[label[pair]] * part[label[pair]] for pair in pairs) for part in left]
        chosen = needs.index(max(needs))
        for pair in pairs:
            left[chosen][label[pair]] -= count[pair]
        parts[number] = chosen
    missing[:] = left


def _fill(order: np.ndarray, table: _Table, missing: np.ndarray, parts: np.ndarray) -> None:
    """Put sets of one row where rows of their class are missing, in the parts' order; updates parts."""
    label = np.zeros(len(parts), np.int64)
    label[table.set] = table.label
    order = order[np.argsort(label[order], kind="stable")]
    label = label[order]
    rank = np.arange(len(order)) - np.searchsorted(label, label)
    until = np.cumsum(np.maximum(missing, 0), axis=0)
    # Where large sets overfilled one part, the others share what is left.
    until = np.rint(until * (np.bincount(label, minlength=table.num_classes) / np.maximum(until[-1], 1)))
    parts[order] = (rank >= until[:-1, label]).sum(axis=0)


def _mend(table: _Table, sizes: np.ndarray, parts: np.ndarray, num_parts: int) -> None:
    """Move the smallest set that can be spared to where large sets left a class out of a part; updates parts."""
    shape = (num_parts, table.num_classes)
    present = np.zeros(shape, np.int64)
    np.add.at(present, (parts[table.set], table.label), 1)
    absent = np.argwhere(present == 0)
    for part, label in absent.tolist():
        if present[part, label]:
            continue
        candidates = table.set[table.label == label]
        for number in candidates[np.argsort(sizes[candidates], kind="stable")].tolist():
            labels = table.label[table.set == number]
            if (present[parts[number], labels] > 1).all():
                present[parts[number], labels] -= 1
                present[part, labels] += 1
                parts[number] = part
                break
    lost = np.flatnonzero((present == 0).any(axis=0))
    if len(lost):
        num_sets = table.sets_per_class()
        raise TooFewSetsError({int(label): int(num_sets[label]) for label in lost})
