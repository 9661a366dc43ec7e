"""Figures of an evaluation as PNG files; equal content makes equal bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from PIL import Image

from lightline.files import save_figure
from stages.test.calibration import Bin

_THUMBNAIL = 320  # pixels; larger images are scaled down before they are drawn
_MOST_NUMBERED = 20  # classes up to which the confusion matrix shows counts
_MOST_NAMED = 120  # classes up to which it shows names
_BLUE, _RED, _GREY = "#1f5fa8", "#b5322e", "#777777"


@dataclass(frozen=True)
class Mistake:
    """image: uint8 RGB [height, width, 3]; confidence: of the predicted class."""

    image: np.ndarray
    predicted: str
    actual: str
    confidence: float


def draw_mistakes(mistakes: Sequence[Mistake], title: str, path: Path) -> None:
    """Draw images in a grid, in the order given, each with what was predicted, what it is and how sure the model is."""
    num_columns = max(1, min(len(mistakes), 5), min(int(np.ceil(np.sqrt(len(mistakes)))), 10))
    num_rows = max(1, -(-len(mistakes) // num_columns))
    figure = Figure(figsize=(max(1.9 * num_columns, 4.5), 2.2 * num_rows + 0.6), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr]
    figure.suptitle(_plain(title), fontsize=11)
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, mistake in zip(grid.flat, mistakes, strict=False):
        _draw_mistake(axes, mistake)
    if not mistakes:
        figure.set_size_inches(4.5, 0.7)
    save_figure(figure, path)


def _draw_mistake(axes: Axes, mistake: Mistake) -> None:
    image = Image.fromarray(mistake.image)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    pixels = np.asarray(image)
    # Small images keep their pixels' edges; large ones would show steps.
    axes.imshow(pixels, interpolation="nearest" if max(pixels.shape) < 100 else "antialiased")
    # Every picture takes a square of the same size, so that captions stand in rows.
    axes.set_box_aspect(1)
    axes.set_anchor("S")
    axes.set_title(f"{_short(mistake.predicted, 17)} · {mistake.confidence:.0%}", fontsize=9, color=_RED, pad=16)
    below = f"is {_short(mistake.actual, 20)}"
    axes.text(0.5, 1.03, below, transform=axes.transAxes, ha="center", va="bottom", fontsize=8, color=_GREY)


def draw_reliability(before: Sequence[Bin], after: Sequence[Bin], labels: tuple[str, str], path: Path) -> None:
    """Draw accuracy against confidence, before and after temperature scaling, above the number of images in each bin.

    labels: what the two are called in the legend.
    """
    figure = Figure(figsize=(5.5, 7), layout="constrained")
    curve, counts = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    curve.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="confidence = accuracy")
    for bins, label, color, shift in ((before, labels[0], _RED, 0.0), (after, labels[1], _BLUE, 0.5)):
        confidence, accuracy = [one.confidence for one in bins], [one.accuracy for one in bins]
        curve.plot(confidence, accuracy, "o-", color=color, markersize=4, label=_plain(label))
        width = [(one.high - one.low) / 2 for one in bins]
        left = [one.low + shift * (one.high - one.low) for one in bins]
        counts.bar(left, [one.images for one in bins], width, align="edge", color=color)
    curve.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy", title="Reliability on the test split")
    figure.legend(loc="outside lower center", frameon=False)
    counts.set(xlabel="confidence", ylabel="images")
    counts.set_yscale("symlog", linthresh=1)
    for axes in (curve, counts):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    save_figure(figure, path)


def draw_confusion(confusion: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Draw the confusion matrix, int [actual, predicted], coloured by the share of each actual class.

    Where it has fewer rows than there are classes, each stands for equally many neighbours.
    """
    num_classes = len(classes)
    together = -(-num_classes // len(confusion))
    edge = len(confusion) * together - 0.5
    side = float(np.clip(2.5 + 0.55 * num_classes, 5, 8) if num_classes <= _MOST_NUMBERED else 13)
    figure = Figure(figsize=(side + 1, side), layout="compressed")
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    # The root makes a mistake of one image in a hundred visible beside a class that is right.
    picture = axes.imshow(
        share, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest", extent=(-0.5, edge, edge, -0.5)
    )
    bar = figure.colorbar(picture, ax=axes, fraction=0.045, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1])
    bar.set_label("share of the actual class")
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "10 %", "25 %", "50 %", "75 %", "100 %"])
    rows = f", a cell is {together} × {together} classes" if together > 1 else ""
    title = f"Confusion on the test split, {int(confusion.sum()):,} images{rows}"
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    if num_classes <= _MOST_NAMED:
        _name_classes(axes, classes)
    if num_classes <= _MOST_NUMBERED:
        _write_counts(axes, confusion, share)
    save_figure(figure, path)


def _name_classes(axes: Axes, classes: Sequence[str]) -> None:
    size = float(np.clip(640 / len(classes), 5, 10))
    names = [_short(name, 18) for name in classes]
    axes.set_xticks(range(len(classes)), names, fontsize=size, rotation=0 if max(map(len, names)) < 3 else 90)
    axes.set_yticks(range(len(classes)), names, fontsize=size)
    axes.tick_params(length=0)


def _write_counts(axes: Axes, confusion: np.ndarray, share: np.ndarray) -> None:
    size = float(np.clip(110 / len(confusion), 6, 11))
    for row, column in np.argwhere(confusion > 0).tolist():
        color = "white" if share[row, column] > 0.35 else "black"
        count = f"{confusion[row, column]}"
        axes.text(column, row, count, ha="center", va="center", color=color, fontsize=size)


def _short(text: str, length: int) -> str:
    return _plain(text if len(text) <= length else text[: length - 1] + "…")


def _plain(text: str) -> str:
    """Have the text drawn as it stands: a dollar sign would begin a formula, a line break a second line."""
    return " ".join(text.split()).replace("$", r"\$")
