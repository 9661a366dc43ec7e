"""From a source to the dataset: every image decoded once, what cannot be used listed with its reason."""

import os
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightline import images
from lightline.dataset import Row, pixel_digest, write_dataset
from lightline.errors import DataError
from lightline.files import write_csv, write_json
from lightline.params_data import Source
from lightline.sources.base import EmptyClass, ImageSource, Refused, SourceImage
from lightline.thumbnails import is_small, thumbnails

REPORTS = Path("reports/download")
_THREADS = min(8, os.cpu_count() or 1)  # decoding large images leaves Python to other threads
_IMAGES_PER_GROUP, _BYTES_PER_GROUP = 32, 2**20
_GROUPS_AHEAD, _BYTES_AHEAD = 16, 2**26  # read and not yet written
_SHOWN = 5  # rejected images named in the error message


@dataclass
class Counts:
    """What went into the dataset and what did not."""

    rejected: list[Refused] = field(default_factory=list)
    images_per_class: Counter[str] = field(default_factory=Counter)
    classes_named: set[str] = field(default_factory=set)
    heights: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        self.images_per_class[row.class_name] += 1
        self.heights[row.height] += 1
        self.widths[row.width] += 1

    def note(self, images: Iterator[SourceImage | Refused | EmptyClass]) -> Iterator[SourceImage | Refused]:
        """The images, while their classes are written down, usable or not."""
        for image in images:
            if not isinstance(image, Refused):
                self.classes_named.add(image.class_name)
            if not isinstance(image, EmptyClass):
                yield image

    def warnings(self) -> list[str]:
        """A sentence for each oddity that stops nothing."""
        found = []
        if empty := sorted(self.classes_named - set(self.images_per_class)):
            found.append(f"There is no usable image of {_named(empty)}, so the model will not know it.")
        alike = defaultdict(list)
        for name in sorted(self.images_per_class):
            alike[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
        twins = [_named(names) for names in alike.values() if len(names) > 1]
        return found + [
            f"{names} differ only in case, spaces or form, and are classes of their own." for names in twins
        ]

    def summary(self) -> dict[str, Any]:
        return {
            "images": self.images_per_class.total(),
            "rejected": len(self.rejected),
            "classes": len(self.images_per_class),
            "smallest_class": min(self.images_per_class.values(), default=0),
            "largest_class": max(self.images_per_class.values(), default=0),
            "height": {"min": min(self.heights, default=0), "max": max(self.heights, default=0)},
            "width": {"min": min(self.widths, default=0), "max": max(self.widths, default=0)},
        }


def download(source: ImageSource, limits: Source, reports: Path = REPORTS) -> Counts:
    """Write data/dataset/ and reports/download/.

    Raises:
        DataError: more images than limits.max_rejected cannot be used, or fewer than two classes are left; all that
            were rejected are in rejected.csv.
    """
    counts = Counts()
    write_dataset(_usable(source, limits, counts, reports), source.classes)
    _write_reports(counts, reports)
    return counts


def _usable(source: ImageSource, limits: Source, counts: Counts, reports: Path) -> Iterator[Row]:
    for result in _checked(counts.note(source.images()), limits.max_pixels):
        if isinstance(result, Row):
            counts.add(result)
            yield result
        else:
            counts.rejected.append(result)
    counts.rejected.sort(key=lambda refused: (refused.id, refused.reason))
    if problem := _problem(counts, limits, reports):
        _write_reports(counts, reports)
        raise DataError(problem)


def _checked(images: Iterator[SourceImage | Refused], max_pixels: int) -> Iterator[Row | Refused]:
    """A row for each usable image, the reason for each other; decoded in threads, given in the source's order."""
    pending: deque[tuple[int, Future[list[Row | Refused]]]] = deque()
    ahead = 0  # bytes handed to the threads
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for group, num_bytes in _groups(images):
                pending.append((num_bytes, pool.submit(_check_all, group, max_pixels)))
                ahead += num_bytes
                while len(pending) > _GROUPS_AHEAD or ahead > _BYTES_AHEAD:
                    num_bytes, rows = pending.popleft()
                    ahead -= num_bytes
                    yield from rows.result()
            for _, rows in pending:
                yield from rows.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _groups(images: Iterator[SourceImage | Refused]) -> Iterator[tuple[list[SourceImage | Refused], int]]:
    """Images in groups worth handing to a thread, each with its size in bytes."""
    group, num_bytes = [], 0
    for image in images:
        group.append(image)
        num_bytes += 0 if isinstance(image, Refused) else image.num_bytes
        if len(group) == _IMAGES_PER_GROUP or num_bytes >= _BYTES_PER_GROUP:
            yield group, num_bytes
            group, num_bytes = [], 0
    yield group, num_bytes


class _Checked(NamedTuple):
    """An image that decoded, and what its row needs; thumbnail: None while small pixels wait for those of others."""

    image: SourceImage
    encoded: bytes
    pixels: np.ndarray
    digest: str
    size: tuple[int, int]
    thumbnail: bytes | None

    def row(self, thumbnail: bytes | None) -> Row:
        image = self.image
        return Row(
            image.id, self.encoded, image.class_name, *self.size, self.digest, image.split, image.group, thumbnail
        )


def _check_all(group: list[SourceImage | Refused], max_pixels: int) -> list[Row | Refused]:
    checked = [image if isinstance(image, Refused) else _check(image, max_pixels) for image in group]
    # Small pictures of one size are reduced at once: one by one it would take as long as decoding them.
    made = iter(thumbnails([one.pixels for one in checked if isinstance(one, _Checked)]))
    return [one if isinstance(one, Refused) else one.row(next(made) or one.thumbnail) for one in checked]


def _check(image: SourceImage, max_pixels: int) -> _Checked | Refused:
    try:
        checked = images.check(image.read(), max_pixels)
    except images.UnusableImageError as reason:
        return Refused(image.id, str(reason))
    except OSError as error:
        return Refused(image.id, f"cannot be read: {error.strerror or error}")
    pixels = checked.pixels
    height, width, _ = pixels.shape
    # Large pixels are not kept until the whole group is decoded.
    kept, thumbnail = (pixels, None) if is_small(pixels) else (pixels[:0], *thumbnails([pixels]))
    return _Checked(image, checked.encoded, kept, pixel_digest(pixels), (height, width), thumbnail)


def _write_reports(counts: Counts, reports: Path) -> None:
    write_json(reports / "summary.json", counts.summary())
    write_csv(reports / "classes.csv", ("class", "images"), sorted(counts.images_per_class.items()))
    write_csv(reports / "rejected.csv", ("id", "reason"), ((refused.id, refused.reason) for refused in counts.rejected))


def _problem(counts: Counts, limits: Source, reports: Path) -> str | None:
    """Why the images cannot become a dataset, or None."""
    if len(counts.rejected) > limits.max_rejected:
        return (
            f"{len(counts.rejected)} images cannot be used, and data.max_rejected = {limits.max_rejected}:\n"
            f"{_some(counts, reports)}\nMend or remove them, or raise data.max_rejected to go on without them."
        )
    if len(counts.images_per_class) < 2:
        usable = ", ".join(map(repr, counts.images_per_class)) or "none"
        rejected = f" Rejected were:\n{_some(counts, reports)}" if counts.rejected else ""
        return f"A classifier needs at least two classes with usable images; there is {usable}.{rejected}"
    return None


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def _some(counts: Counts, reports: Path) -> str:
    shown = [f"  {refused.id}: {refused.reason}" for refused in counts.rejected[:_SHOWN]]
    if len(counts.rejected) > _SHOWN:
        shown.append(f"  … and {len(counts.rejected) - _SHOWN} more, all in {reports / 'rejected.csv'}")
    return "\n".join(shown)
