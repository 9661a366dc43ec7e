"""Pictures in different splits that are nearly the same: saved again, resized, brightened, a frame later.

Candidates are pairs whose difference hashes are few bits apart (dHash: N. Krawetz, "Kind of Like That", 2013); they are
found without comparing all with all, by sorting (G. Manku, A. Jain, A. Das Sarma, "Detecting Near-Duplicates for Web
Crawling", 2007). A pair counts where its thumbnails are the same too but for brightness and contrast.
"""

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np

from lightline.data.splits import EXCLUDED
from lightline.data.thumbnails import HEIGHT, SIZE, WIDTH

_BITS_APART = 7  # of 64; up to 5 are always found, 6 and 7 mostly
_BLOCKS, _EQUAL_BLOCKS = 8, 3  # bytes of a hash, and how many of them are equal in a pair that is looked at
_NEIGHBOURS = 8  # in sorted order, with which each hash is compared
_DIFFERENCE = 0.15  # root mean square, in a thumbnail's standard deviations; on CIFAR-10 all below are of one class
_ROWS_AT_ONCE = 4096  # whose numbers in double precision take a few MiB
_LEAST_CONTRAST = 2.0  # standard deviation in grey levels; below, a picture is blank and resembles every blank one


class NearCopies(NamedTuple):
    """For each row that resembles one in a weaker split (train before val before test), the likest of those.

    judged, resembled: int64 [pairs], rows. difference: float64 [pairs], 0 to 0.15.
    """

    judged: np.ndarray
    resembled: np.ndarray
    difference: np.ndarray


NONE = NearCopies(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def find_near_copies(thumbnails: np.ndarray, splits: np.ndarray, digests: np.ndarray) -> NearCopies:
    """Find what looks nearly the same in different splits, exact copies aside; the likest first.

    thumbnails: [rows], each `lightline.data.thumbnails.SIZE` bytes or None.
    splits: int8 [rows], positions in `lightline.data.splits.NAMES`; excluded rows are not looked at.
    digests: [rows], equal for exact copies.
    """
    rows = np.flatnonzero(np.array([thumbnail is not None for thumbnail in thumbnails], bool) & (splits != EXCLUDED))
    grey = np.frombuffer(b"".join(thumbnails[rows]), np.uint8).reshape(-1, SIZE)
    told = _in_parts(lambda grey: grey.std(axis=1) >= _LEAST_CONTRAST, grey)
    rows, grey = rows[told], grey[told]
    one, other = _candidates(_in_parts(_hashes, grey), splits[rows])
    differ = digests[rows[one]] != digests[rows[other]]
    one, other = one[differ], other[differ]
    difference = _in_parts(lambda one, other: _difference(grey[one], grey[other]), one, other)
    near = difference <= _DIFFERENCE
    return _likest(rows[one[near]], rows[other[near]], difference[near], splits)


def _in_parts(of: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """Apply a function to each row, a few at a time, since it needs memory for all that it is given."""
    starts = range(0, max(1, len(arrays[0])), _ROWS_AT_ONCE)
    return np.concatenate([of(*(array[start : start + _ROWS_AT_ONCE] for array in arrays)) for start in starts])


def _likest(one: np.ndarray, other: np.ndarray, difference: np.ndarray, splits: np.ndarray) -> NearCopies:
    is_judged = splits[one] > splits[other]
    judged, resembled = np.where(is_judged, one, other), np.where(is_judged, other, one)
    order = np.lexsort((resembled, judged, difference))
    _, first = np.unique(judged[order], return_index=True)
    kept = order[np.sort(first)]
    return NearCopies(judged[kept], resembled[kept], difference[kept])


def _hashes(grey: np.ndarray) -> np.ndarray:
    """Hash thumbnails, uint8 [rows, 8]: a bit for each pixel and the one to its right, set where that is brighter."""
    grey = grey.reshape(-1, HEIGHT, WIDTH)
    brighter = grey[:, :, 1:] > grey[:, :, :-1]
    return np.packbits(brighter.reshape(len(grey), HEIGHT * (WIDTH - 1)), axis=1)


def _candidates(hashes: np.ndarray, splits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find pairs in different splits whose hashes differ in few bits: two int64 arrays of positions.

    Two hashes with few different bits share some of their bytes. With these bytes in front, sorting brings the two
    together, so each is compared with its neighbours alone: the cost grows as sorting does.
    """
    found = [np.empty(0, np.int64)]
    for equal in combinations(range(_BLOCKS), _EQUAL_BLOCKS):
        rest = [block for block in range(_BLOCKS) if block not in equal]
        number = np.ascontiguousarray(hashes[:, [*equal, *rest]]).view(">u8")[:, 0].astype(np.uint64)
        order = np.argsort(number, kind="stable")
        number, side = number[order], splits[order]
        for step in range(1, min(_NEIGHBOURS, len(hashes) - 1) + 1):
            is_near = np.bitwise_count(number[step:] ^ number[:-step]) <= _BITS_APART
            near = np.flatnonzero(is_near & (side[step:] != side[:-step]))
            one, other = order[near], order[near + step]
            found.append(np.minimum(one, other) * len(hashes) + np.maximum(one, other))
    return np.divmod(np.unique(np.concatenate(found)), max(len(hashes), 1))


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compute how far thumbnails are apart once brightness and contrast are made equal: [pairs]."""
    return np.sqrt(np.square(_standardised(one) - _standardised(other)).mean(axis=1))


def _standardised(grey: np.ndarray) -> np.ndarray:
    return (grey - grey.mean(axis=1, keepdims=True)) / grey.std(axis=1, keepdims=True)
