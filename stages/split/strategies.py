"""How the images are divided into train, val and test, by each strategy. Exact duplicates never stand on two sides."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightline.config.data import GroupSplit, KFoldSplit, PredefinedSplit, Split, StratifiedSplit
from lightline.data.dataset import Dataset, codes
from lightline.data.splits import EXCLUDED, NAMES, TEST, TRAIN, VAL
from lightline.errors import DataError, some, some_lines
from stages.split.allocation import TooFewSetsError, allocate, set_keys, sets_of

_SHOWN = 10  # ids, pairs or classes named in a message
DUPLICATES = Path("reports/split/duplicates.csv")


class DuplicatesError(DataError):
    """The source has equal images in several of its splits. splits: int8 [rows], what the source says."""

    def __init__(self, message: str, splits: np.ndarray):
        super().__init__(message)
        self.splits = splits


@dataclass(frozen=True)
class Columns:
    """What a split is decided by; arrays of [rows], sorted by id.

    digests: equal for exact duplicates. splits, groups: what the source says, or None.
    """

    ids: np.ndarray
    labels: np.ndarray
    digests: np.ndarray
    splits: np.ndarray
    groups: np.ndarray
    classes: list[str]

    @classmethod
    def of(cls, dataset: Dataset) -> "Columns":
        ids, splits, groups = (dataset.column(name) for name in ("id", "split", "group"))
        return cls(ids, dataset.labels, dataset.codes("digest"), splits, groups, dataset.classes)

    def select(self, rows: np.ndarray) -> "Columns":
        """Select the rows of these numbers."""
        return Columns(
            self.ids[rows],
            self.labels[rows],
            self.digests[rows],
            self.splits[rows],
            self.groups[rows],
            self.classes,
        )


def assign(columns: Columns, split: Split, seed: int) -> np.ndarray:
    """Choose each row's split: int8 [rows], positions in NAMES.

    Raises:
        DuplicatesError: the source's own splits share images, and split.duplicates = 'error'.
        DataError: a class is too small to be in every split, or the source does not say what the strategy needs.
    """
    # Discriminated by the strategy and not by isinstance: GroupSplit is a StratifiedSplit.
    match split.strategy:
        case "predefined":
            return _predefined(columns, split, seed)
        case "k_fold":
            return _k_fold(columns, split, seed)
        case "group":
            if not (codes(columns.groups) >= 0).any():
                raise DataError(
                    "split.strategy = 'group', but the source names no groups. Name them (data.group_column of "
                    "data=table), or choose split=stratified."
                )
            return _fractions(columns, split, seed, sets_of(columns.digests, columns.groups))
        case "stratified":
            return _fractions(columns, split, seed, sets_of(columns.digests))


def _fractions(columns: Columns, split: StratifiedSplit | GroupSplit, seed: int, sets: np.ndarray) -> np.ndarray:
    fractions = {VAL: split.val, TRAIN: 1 - split.test - split.val, TEST: split.test}
    return _cut(columns, sets, fractions, (seed, "split"))


def _k_fold(columns: Columns, split: KFoldSplit, seed: int) -> np.ndarray:
    sets = sets_of(columns.digests, columns.groups)
    folds = dict.fromkeys(range(split.num_folds), 1 / split.num_folds)
    in_fold = _cut(columns, sets, folds, (seed, "split"), f"each of the {split.num_folds} folds")
    result = np.full(len(columns.ids), TEST, np.int8)
    rest = np.flatnonzero(in_fold != split.fold)
    result[rest] = _cut(columns.select(rest), sets[rest], {VAL: split.val, TRAIN: 1 - split.val}, (seed, "val"))
    return result


def _predefined(columns: Columns, split: PredefinedSplit, seed: int) -> np.ndarray:
    result = _source_splits(columns, split)
    digest = codes(columns.digests)
    if split.duplicates == "error":
        _refuse_duplicates(columns, result, digest)
    # The copy in the split that judges is the one that stays.
    for weaker, stronger in ((VAL, TEST), (TRAIN, TEST), (TRAIN, VAL)):
        seen = np.zeros(digest.max() + 1, bool)
        seen[digest[result == stronger]] = True
        result[(result == weaker) & seen[digest]] = EXCLUDED
    _cut_what_is_missing(columns, result, split, seed)
    untaught = np.setdiff1d(np.arange(len(columns.classes)), columns.labels[result == TRAIN])
    if len(untaught):
        raise DataError(
            f"split.strategy = 'predefined', but no training image is left of {len(untaught)} of "
            f"{len(columns.classes)} classes: {some([columns.classes[label] for label in untaught], _SHOWN)}. "
            "Add training images of them, remove them from the source, or choose split=stratified."
        )
    return result


def _cut_what_is_missing(columns: Columns, splits: np.ndarray, split: PredefinedSplit, seed: int) -> None:
    """Move some of train into each split that the source does not have."""
    shares = {number: share for number, share in ((TEST, split.test), (VAL, split.val)) if not (splits == number).any()}
    if not shares:
        return
    rows = np.flatnonzero(splits == TRAIN)
    train = columns.select(rows)
    fractions = {TRAIN: 1 - sum(shares.values()), **shares}
    fractions = {number: fractions[number] for number in (VAL, TRAIN, TEST) if number in fractions}
    splits[rows] = _cut(train, sets_of(train.digests, train.groups), fractions, (seed, "val"))


def _refuse_duplicates(columns: Columns, splits: np.ndarray, digest: np.ndarray) -> None:
    # Of each set of copies, one in the split that judges, and all in weaker ones.
    order = np.lexsort((-splits, digest))
    _, first = np.unique(digest[order], return_index=True)
    strongest = order[first][digest]
    weaker = np.flatnonzero(splits != splits[strongest])
    if len(weaker) == 0:
        return
    pairs = [f"{columns.ids[strongest[row]]} = {columns.ids[row]}" for row in weaker]
    raise DuplicatesError(
        f"split.duplicates = 'error', and the source has {len(weaker)} images in one split that are pixel for pixel "
        f"those of another:{some_lines(pairs, _SHOWN, DUPLICATES)}\n"
        "Remove one of each pair from the source, or set split.duplicates=exclude, which leaves the copies out of "
        "the weaker split (train before val before test) and goes on.",
        splits,
    )


def _source_splits(columns: Columns, split: PredefinedSplit) -> np.ndarray:
    result = np.full(len(columns.ids), -1, np.int8)
    for number, name in enumerate(NAMES[:EXCLUDED]):
        result[columns.splits == name] = number
    unknown = np.flatnonzero(result < 0)
    if len(unknown) == len(result):
        raise DataError(
            "split.strategy = 'predefined', but the source says of no image whether it is for training or for "
            "testing. It needs folders train/ and test/, or a split column; or choose split=stratified."
        )
    if len(unknown):
        raise DataError(
            f"split.strategy = 'predefined', but the source puts {len(unknown)} of {len(result)} images in none of "
            f"train, val and test: {some([columns.ids[row] for row in unknown], _SHOWN)}. "
            "Name their split in the source, or choose split=stratified."
        )
    if not (result == TRAIN).any():
        raise _nothing_in("train", "Name some in the source, or choose split=stratified.")
    if not (result == TEST).any():
        _do_without_test(result, split)
    return result


def _do_without_test(splits: np.ndarray, split: PredefinedSplit) -> None:
    """Let the source's val be test, or say what can be done; where test is to be cut from train, that comes later."""
    has_val = (splits == VAL).any()
    if split.without_test == "val" and has_val:
        splits[splits == VAL] = TEST
    elif split.without_test != "train":
        take_val = ", or split.without_test=val to take its val as test and cut val from train" if has_val else ""
        raise _nothing_in(
            "test",
            f"Set split.without_test=train to cut split.test = {split.test:g} from train{take_val}; or choose "
            "split=stratified, which divides all images anew.",
        )


def _nothing_in(name: str, advice: str) -> DataError:
    return DataError(f"split.strategy = 'predefined', but the source has no image in {name}. {advice}")


def _cut(
    columns: Columns, sets: np.ndarray, fractions: dict[int, float], key: tuple[int, str], every: str = ""
) -> np.ndarray:
    """Choose the key of `fractions` whose part each row falls into: int8 [rows].

    key: seed and purpose of the random order. every: what the parts are called in a message.
    """
    sets = codes(sets)
    keys = set_keys(columns.ids, sets, *key)
    try:
        part = allocate(columns.labels, sets, keys, list(fractions.values()), len(columns.classes))
    except TooFewSetsError as error:
        every = every or "each of " + ", ".join(NAMES[number] for number in sorted(fractions))
        num_rows = np.bincount(columns.labels, minlength=len(columns.classes))
        raise DataError(_too_small(columns.classes, num_rows, error.num_sets, every)) from None
    return np.array(list(fractions), np.int8)[part]


def _too_small(classes: list[str], num_rows: np.ndarray, num_sets: dict[int, int], every: str) -> str:
    lines = [
        f"  {classes[label]}: {num_rows[label]} images in {number} independent sets"
        for label, number in num_sets.items()
    ]
    return (
        f"{len(lines)} of {len(classes)} classes are too small to be in {every} "
        "(exact duplicates, and images of one group, are one set, which cannot be divided):\n"
        + "\n".join(lines)
        + "\nAdd images of them, or remove these classes from the source"
        + (", or ask for fewer folds (a smaller split.num_folds)." if "folds" in every else ".")
    )


def without_dropped(splits: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """Exclude what a correction leaves out; splits: int8 [rows]; dropped: "train", "all" or None, see `Dataset`."""
    out = (dropped == "all") | ((dropped == "train") & (splits != TEST))
    return np.where(out, np.int8(EXCLUDED), splits)
