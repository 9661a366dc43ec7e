"""From a source to the dataset: every image decoded once, what cannot be used listed with its reason."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightline.config.data import Source
from lightline.data.dataset import Row, write_dataset
from lightline.errors import DataError, some, some_lines
from lightline.files import write_csv, write_json
from lightline.runtime.places import find_file
from lightline.sources.base import EmptyClass, ImageSource, Refused, Remark, SourceImage
from lightline.sources.corrections import Corrections
from lightline_predict.images import DEEPEST
from stages.download.decode_pool import checked

REPORTS = Path("reports/download")
_SHOWN = 5  # rejected images named in the error message


@dataclass
class Counts:
    """What went into the dataset and what did not."""

    rejected: list[Refused] = field(default_factory=list)
    images_per_class: Counter[str] = field(default_factory=Counter)
    classes_named: set[str] = field(default_factory=set)
    heights: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    bits: Counter[int] = field(default_factory=Counter)  # in use, of images of 16 bits a channel
    bit_depth: int = DEEPEST  # at which they were read
    remarks: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)  # that the source has of those which corrections name
    corrected: Corrections | None = None

    def corrected_row(self, row: Row) -> Row:
        """Correct an image, as the file of corrections says."""
        if self.corrected is None:
            return row
        corrected = self.corrected.apply(row)
        if corrected is not row:
            self.ids.add(row.id)
        return corrected

    def add(self, row: Row) -> None:
        if row.bits is not None:
            self.bits[row.bits] += 1
        self.images_per_class[row.class_name] += 1
        self.heights[row.height] += 1
        self.widths[row.width] += 1

    def note(self, images: Iterator[SourceImage | Refused | EmptyClass | Remark]) -> Iterator[SourceImage | Refused]:
        """Yield the images, and write down their classes, usable or not, and what else the source says."""
        for image in images:
            if isinstance(image, Remark):
                self.remarks.append(image.text)
                continue
            if not isinstance(image, Refused):
                self.classes_named.add(image.class_name)
            if not isinstance(image, EmptyClass):
                yield image

    def warnings(self) -> list[str]:
        """Write a sentence for each oddity that stops nothing."""
        found = [*self.remarks]
        if empty := sorted(self.classes_named - set(self.images_per_class)):
            names = some([repr(name) for name in empty], _SHOWN)
            found.append(f"There is no usable image of {names}, so the model will not know it.")
        alike = defaultdict(list)
        for name in sorted(self.images_per_class):
            alike[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
        twins = [some([repr(name) for name in names], _SHOWN) for names in alike.values() if len(names) > 1]
        if over := sum(number for bits, number in self.bits.items() if bits > self.bit_depth):
            found.append(
                f"{over} images hold values of more bits than data.bit_depth = {self.bit_depth}; these became white."
            )
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
            "16_bit_images": self.bits.total(),
            "bit_depth": self.bit_depth if self.bits else None,
        }


class _FewerBitsError(Exception):
    """The 16-bit images use no more than these bits, which could not be known before the last was read."""

    def __init__(self, bits: int):
        self.bits = bits


def download(source: ImageSource, limits: Source, reports: Path = REPORTS) -> Counts:
    """Write data/dataset/ and reports/download/; under data.bit_depth = auto read again what uses fewer bits than 16.

    Raises:
        DataError: more images than limits.max_rejected cannot be used, or fewer than two classes are left; all that
            were rejected are in rejected.csv.
    """
    auto = limits.bit_depth == "auto"
    try:
        return _download(source, limits, DEEPEST if auto else int(limits.bit_depth), reports)
    except _FewerBitsError as found:
        return _download(source, limits, found.bits, reports)


def _download(source: ImageSource, limits: Source, bit_depth: int, reports: Path) -> Counts:
    corrections = Corrections(find_file(limits.corrections, "data.corrections")) if limits.corrections else None
    counts = Counts(bit_depth=bit_depth, corrected=corrections)
    # Closed here: an error's traceback would hold on to it, and with it to the processes that decode.
    with closing(_usable(source, limits, counts, reports)) as rows:
        write_dataset(rows, source.classes, bit_depth=bit_depth)
    _write_reports(counts, reports)
    return counts


def _usable(source: ImageSource, limits: Source, counts: Counts, reports: Path) -> Generator[Row]:
    with closing(checked(counts.note(source.images()), limits.max_pixels, counts.bit_depth)) as results:
        for result in results:
            if isinstance(result, Row):
                row = counts.corrected_row(result)
                counts.add(row)
                yield row
            else:
                counts.rejected.append(result)
    if counts.corrected is not None:
        counts.corrected.check(counts.ids | {refused.id for refused in counts.rejected}, counts.classes_named)
    counts.rejected.sort(key=lambda refused: (refused.id, refused.reason))
    if problem := _problem(counts, limits, reports):
        _write_reports(counts, reports)
        raise DataError(problem)
    if limits.bit_depth == "auto" and counts.bits and max(counts.bits) < counts.bit_depth:
        raise _FewerBitsError(max(counts.bits))


def _write_reports(counts: Counts, reports: Path) -> None:
    write_json(reports / "summary.json", counts.summary())
    write_csv(reports / "classes.csv", ("class", "images"), sorted(counts.images_per_class.items()))
    write_csv(reports / "rejected.csv", ("id", "reason"), ((refused.id, refused.reason) for refused in counts.rejected))


def _problem(counts: Counts, limits: Source, reports: Path) -> str | None:
    """Say why the images cannot become a dataset; None where they can."""
    if len(counts.rejected) > limits.max_rejected:
        return (
            f"{len(counts.rejected)} images cannot be used, and data.max_rejected = {limits.max_rejected}:"
            f"{_rejected(counts, reports)}\nMend or remove them, or raise data.max_rejected to go on without them."
        )
    if len(counts.images_per_class) < 2:
        usable = ", ".join(map(repr, counts.images_per_class)) or "none"
        rejected = f" Rejected were:{_rejected(counts, reports)}" if counts.rejected else ""
        return f"A classifier needs at least two classes with usable images; there is {usable}.{rejected}"
    return None


def _rejected(counts: Counts, reports: Path) -> str:
    return some_lines([f"{one.id}: {one.reason}" for one in counts.rejected], _SHOWN, reports / "rejected.csv")
