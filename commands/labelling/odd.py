"""Pictures that are no pictures, or unlike the rest: of one colour, there many times, much darker, blurred, small."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lightline.data.dataset import Dataset
from lightline_predict.images import decode_small
from stages.test.measures import measure

_FLAT = 0.9  # share of pixels of nearly one colour
_SIDE = 64  # pixels at which colours are counted
_MANY = 3  # times that the same picture is there
_FAR = 6.0  # robust standard deviations from the median
_LEAST_SPREAD = 0.05  # of logarithms: where all are as good as alike, a twentieth is nothing odd
_WORDS = {"brightness": "much darker than the rest", "sharpness": "much blurrier", "size": "much smaller"}


_Found = tuple[int, str, str]  # row, what is odd, by how much


@dataclass(frozen=True)
class Odd:
    """A picture, what is odd about it, and by how much."""

    id: str
    label: str
    what: str
    detail: str


def odd_pictures(dataset: Dataset) -> list[Odd]:
    """Look through all images of the dataset."""
    ids, found = dataset.column("id"), (*_of_one_colour(dataset), *_repeated(dataset), *_unlike_the_rest(dataset))
    return [Odd(ids[row], dataset.classes[dataset.labels[row]], what, detail) for row, what, detail in found]


def _of_one_colour(dataset: Dataset) -> Iterator[_Found]:
    shares = np.array([_largest_colour(dataset.encoded(row)) for row in range(len(dataset))])
    usual = np.median(shares) + _FAR * _deviation(shares)  # black paper round a digit is nothing odd
    for row in np.flatnonzero((shares >= _FLAT) & ((shares > usual) | (shares == 1))):
        yield int(row), "of one colour", f"{shares[row]:.1%} of its pixels"


def _largest_colour(encoded: bytes) -> float:
    pixels = np.asarray(decode_small(encoded, _SIDE).convert("RGB")).reshape(-1, 3) >> 4
    keys = pixels.astype(np.int64) @ np.array([256, 16, 1])
    return float(np.bincount(keys).max() / len(keys))


def _repeated(dataset: Dataset) -> Iterator[_Found]:
    """Find pictures that are there many times, or under several labels; nearly the same: by their thumbnails."""
    for name, column in (("the same picture", "digest"), ("nearly the same picture", "thumbnail")):
        groups: dict[object, list[int]] = defaultdict(list)
        for row, value in enumerate(dataset.column(column)):
            if value is not None:
                key = (np.frombuffer(value, np.uint8) >> 4).tobytes() if column == "thumbnail" else value
                groups[key].append(row)
        for rows in groups.values():
            labels = {dataset.classes[dataset.labels[row]] for row in rows}
            if len(rows) >= _MANY or len(labels) > 1:
                under = f", under {len(labels)} labels" if len(labels) > 1 else ""
                for row in rows:
                    yield int(row), f"{name} several times", f"{len(rows)} times{under}"


def _unlike_the_rest(dataset: Dataset) -> Iterator[_Found]:
    measured = measure(dataset, np.arange(len(dataset)))
    for name, words in _WORDS.items():
        values = np.log(np.maximum(measured[name], 1e-3))
        distance = (np.median(values) - values) / max(_deviation(values), _LEAST_SPREAD)
        for row in np.flatnonzero(distance > _FAR):
            yield int(row), words, f"{name} {measured[name][row]:.4g}, median {np.median(measured[name]):.4g}"


def _deviation(values: np.ndarray) -> float:
    """Estimate the standard deviation by the median distance from the median."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
