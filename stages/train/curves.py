"""The curves of a training as a PNG file, which can be looked at where `dvc plots` has no network for its pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lightline.files import save_figure

_COLORS = {"train": "#777777", "val": "#1f5fa8"}


def draw_curves(rows: Sequence[Mapping[str, float]], best: Mapping[str, float], path: Path) -> None:
    """Draw loss and accuracy of train and val by epoch, and where the best one is.

    rows: as in history.csv; without validation they have none of val's keys. best: one of them.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, color in _COLORS.items():
            key = f"{split}_{name}"
            points = [(row["epoch"], row[key]) for row in rows if key in row]
            axes.plot(
                *zip(*points, strict=True), ".-", color=color, label=f"{split}, {best[key]:.4f} in the best epoch"
            )
        axes.axvline(best["epoch"], color="#b5322e", linestyle="--", linewidth=1, label=f"best epoch: {best['epoch']}")
        axes.set(xlabel="epoch", title=f"{name.capitalize()} by epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(rows) == 1:  # which matplotlib would take for a tenth of an epoch
            axes.set_xlim(rows[0]["epoch"] - 1, rows[0]["epoch"] + 1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)
    save_figure(figure, path)
