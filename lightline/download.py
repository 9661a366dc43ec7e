"""From a source to the dataset: every image decoded once, what cannot be used listed with its reason."""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightline import images
from lightline.dataset import Row, pixel_digest, write_dataset
from lightline.errors import DataError
from lightline.files import write_csv, write_json
from lightline.params import Source
from lightline.sources.base import ImageSource, SourceImage

REPORTS = Path("reports/download")
_THREADS = 4
_AHEAD = 64  # images in memory between reading and writing
_SHOWN = 5  # rejected images named in the error message


@dataclass
class Counts:
    """What went into the dataset and what did not."""

    rejected: list[tuple[str, str]] = field(default_factory=list)  # id, reason
    images_per_class: Counter[str] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        self.images_per_class[row.class_name] += 1
        self.heights[row.height] += 1
        self.widths[row.width] += 1

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
        DataError: more images than limits.max_rejected cannot be used; all of them are in rejected.csv.
    """
    counts = Counts()
    write_dataset(_usable(source, limits, counts, reports), source.classes)
    _write_reports(counts, reports)
    return counts


def _usable(source: ImageSource, limits: Source, counts: Counts, reports: Path) -> Iterator[Row]:
    for image, result in _checked(source, limits.max_pixels):
        if isinstance(result, Row):
            counts.add(result)
            yield result
        else:
            counts.rejected.append((image.id, result))
    if len(counts.rejected) > limits.max_rejected:
        _write_reports(counts, reports)
        raise DataError(_too_many(counts, limits, reports))


def _checked(source: ImageSource, max_pixels: int) -> Iterator[tuple[SourceImage, Row | str]]:
    """Each image with its row, or with the reason why it has none; decoded in threads, in the source's order."""
    pending: deque[tuple[SourceImage, Future[Row | str]]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for image in source.images():
            pending.append((image, pool.submit(_check, image, max_pixels)))
            if len(pending) >= _AHEAD:
                first, result = pending.popleft()
                yield first, result.result()
        for first, result in pending:
            yield first, result.result()


def _check(image: SourceImage, max_pixels: int) -> Row | str:
    try:
        checked = images.check(image.read(), max_pixels)
    except images.UnusableImage as reason:
        return str(reason)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    height, width, _ = checked.pixels.shape
    digest = pixel_digest(checked.pixels)
    return Row(image.id, checked.encoded, image.class_name, height, width, digest, image.split, image.group)


def _write_reports(counts: Counts, reports: Path) -> None:
    write_json(reports / "metrics.json", counts.summary())
    write_csv(reports / "classes.csv", ("class", "images"), sorted(counts.images_per_class.items()))
    write_csv(reports / "rejected.csv", ("id", "reason"), sorted(counts.rejected))


def _too_many(counts: Counts, limits: Source, reports: Path) -> str:
    shown = [f"  {image}: {reason}" for image, reason in counts.rejected[:_SHOWN]]
    if len(counts.rejected) > _SHOWN:
        shown.append(f"  … and {len(counts.rejected) - _SHOWN} more, all in {reports / 'rejected.csv'}")
    return (
        f"{len(counts.rejected)} images cannot be used, and data.max_rejected = {limits.max_rejected}:\n"
        + "\n".join(shown)
        + "\nMend or remove them, or raise data.max_rejected to go on without them."
    )
