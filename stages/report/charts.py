"""Line charts as SVG, with classes for colours, so that they are readable in light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 40  # of the drawing, to the plot
_TICKS = 5


@dataclass(frozen=True)
class Line:
    """Points of x and y; kind: line-0, line-1 … for colours, or ideal."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> Markup:
    """Draw lines over common axes; a range of None takes what the points have."""
    xs, ys = _Axis.over(lines, 0, x_range), _Axis.over(lines, 1, y_range)
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    begin = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{} by {}">')
    grid = Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    text = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
    curve = Markup('<polyline class="{}" points="{}"><title>{}</title></polyline>')
    parts = [begin.format(_WIDTH, _HEIGHT, y_label, x_label)]
    for value in ys.ticks():
        y = ys.place(value, bottom, top)
        parts += [grid.format(left, right, y, y), text.format(left - 6, y + 4, "end", _number(value))]
    for value in xs.ticks():
        parts.append(text.format(xs.place(value, left, right), bottom + 16, "middle", _number(value)))
    parts.append(text.format((left + right) / 2, _HEIGHT - 6, "middle", x_label))
    for line in lines:
        places = [f"{xs.place(x, left, right)},{ys.place(y, bottom, top)}" for x, y in line.points if math.isfinite(y)]
        parts.append(curve.format(line.kind, " ".join(places), line.name))
        if len(places) < 30 and line.kind != "ideal":
            dots = (place.split(",") for place in places)
            parts += [Markup('<circle class="{}" cx="{}" cy="{}" r="2.5"/>').format(line.kind, *dot) for dot in dots]
    return Markup("").join([*parts, Markup("</svg>"), _legend(lines, y_label)])


def _legend(lines: Sequence[Line], y_label: str) -> Markup:
    keys = [Markup('<span class="key {}">{}</span>').format(line.kind, line.name) for line in lines]
    return Markup('<p class="legend">{}: {}</p>').format(y_label, Markup(" ").join(keys))


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float

    @classmethod
    def over(cls, lines: Sequence[Line], axis: int, asked: tuple[float, float] | None) -> "_Axis":
        if asked is not None:
            return cls(*asked)
        values = [point[axis] for line in lines for point in line.points if math.isfinite(point[1])]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        return cls(low, high if high > low else low + 1)

    def place(self, value: float, start: float, end: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(start + min(max(share, 0), 1) * (end - start), 1)

    def ticks(self) -> list[float]:
        step = 10 ** math.floor(math.log10((self.high - self.low) / _TICKS))
        step *= next(factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (step * factor) <= _TICKS)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:.4g}"
