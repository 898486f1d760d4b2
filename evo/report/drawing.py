"""Plots as SVG text: axes, lines, points, bars, heat maps. Pure; colours and type are the page's.

Every figure is an image with a name for those who do not see it, scales with its place, and says with
shape as well as with colour what kind a point is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evo.report.look import text

LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 12.0, 34.0
KINDS = 6  # of points that can be told apart


@dataclass(frozen=True, slots=True)
class Frame:
    """The plane of one plot: data from (x0, y0) to (x1, y1) on `width` x `height` units."""

    x0: float
    x1: float
    y0: float
    y1: float
    width: float = 560.0
    height: float = 260.0

    def x(self, value: float) -> float:
        share = (value - self.x0) / ((self.x1 - self.x0) or 1.0)
        return LEFT + share * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y0) / ((self.y1 - self.y0) or 1.0)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)


def around(xs: Iterable[float], ys: Iterable[float], **size: float) -> Frame:
    """A frame that holds all values, with a little room."""
    (x0, x1), (y0, y1) = _range(xs), _range(ys)
    return Frame(x0, x1, y0, y1, **size)


def _range(values: Iterable[float]) -> tuple[float, float]:
    each = [v for v in values if math.isfinite(v)]
    low, high = (min(each), max(each)) if each else (0.0, 1.0)
    room = 0.03 * (high - low) or 0.5
    return low - room, high + room


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between two values.

    >>> ticks(0, 103)
    [0.0, 25.0, 50.0, 75.0, 100.0]
    """
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * most >= span)
    first = math.ceil(low / step - 1e-9)
    found = []
    while first * step <= high + 1e-9 * span:
        found.append(round(first * step, 10))
        first += 1
    return found


def axes(frame: Frame, across: str, up: str) -> str:
    """Grid, numbers and what they are."""
    bottom, left = frame.height - BOTTOM, LEFT
    parts = []
    for value in ticks(frame.y0, frame.y1):
        y = frame.y(value)
        parts.append(
            f'<line class="grid" x1="{left:g}" x2="{frame.width - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="faint" x="{left - 6:g}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>'
        )
    for value in ticks(frame.x0, frame.x1):
        x = frame.x(value)
        parts.append(
            f'<text class="faint" x="{x:.1f}" y="{bottom + 15:g}" text-anchor="middle">{short(value)}</text>'
        )
    parts.append(
        f'<line class="axis" x1="{left:g}" x2="{frame.width - RIGHT:g}" y1="{bottom:g}" y2="{bottom:g}"/>'
        f'<text x="{frame.width - RIGHT:g}" y="{frame.height - 4:g}" text-anchor="end">{text(across)}</text>'
        f'<text x="4" y="{TOP - 2:g}">{text(up)}</text>'
    )
    return "".join(parts)


def line(frame: Frame, points: Sequence[tuple[float, float]], css: str = "line") -> str:
    places = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
    return f'<polyline class="{css}" points="{places}"/>'


def marker(kind: int, x: float, y: float, size: float = 3.4, attributes: str = "") -> str:
    """A point of one of `KINDS`: circle, square, diamond, triangle, cross, ring."""
    css = f'class="point k{kind % KINDS}" {attributes}'
    if kind % KINDS == 0:
        return f'<circle {css} cx="{x:.1f}" cy="{y:.1f}" r="{size:g}"/>'
    s = size
    shapes = {
        1: f"M{x - s:.1f} {y - s:.1f}h{2 * s:.1f}v{2 * s:.1f}h{-2 * s:.1f}z",
        2: f"M{x:.1f} {y - 1.3 * s:.1f}l{1.3 * s:.1f} {1.3 * s:.1f}l{-1.3 * s:.1f} {1.3 * s:.1f}"
        f"l{-1.3 * s:.1f} {-1.3 * s:.1f}z",
        3: f"M{x:.1f} {y - 1.2 * s:.1f}l{1.2 * s:.1f} {2.2 * s:.1f}h{-2.4 * s:.1f}z",
        4: f"M{x - s:.1f} {y - s / 3:.1f}h{2 * s:.1f}v{s / 1.5:.1f}h{-2 * s:.1f}z",
        5: f"M{x:.1f} {y + 1.2 * s:.1f}l{1.2 * s:.1f} {-2.2 * s:.1f}h{-2.4 * s:.1f}z",
    }
    return f'<path {css} d="{shapes[kind % KINDS]}"/>'


def key(names: Sequence[str]) -> str:
    """What the kinds are called, by their place."""
    parts = [
        f'<span class="key"><svg viewBox="0 0 14 14" aria-hidden="true">{marker(kind, 7, 7, 4.5)}</svg> '
        f"{text(name)}</span>"
        for kind, name in enumerate(names)
    ]
    return f"<p>{''.join(parts)}</p>"


def bars(rows: Sequence[tuple[str, float, str]], css: str = "bar", width: float = 560.0) -> str:
    """Horizontal bars: name, value, and what is written behind it."""
    most = max((value for _, value, _ in rows), default=0.0) or 1.0
    left, parts = 190.0, []
    for place, (name, value, said) in enumerate(rows):
        y = 4 + 24 * place
        length = (width - left - 150) * value / most
        parts.append(
            f'<text x="{left - 8:g}" y="{y + 14}" text-anchor="end">{text(name, 28)}</text>'
            f'<rect class="{css}" x="{left:g}" y="{y + 2}" width="{max(length, 1):.1f}" height="16" rx="2"/>'
            f'<text x="{left + length + 6:.1f}" y="{y + 14}">{text(said, 40)}</text>'
        )
    return svg("".join(parts), width, 8 + 24 * len(rows), ", ".join(f"{n} {s}" for n, _, s in rows))


def heat(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[str, str], tuple[float, str]],
    width: float = 560.0,
) -> str:
    """A table of shades, (row, column) -> (0 to 1, what is written in it)."""
    left, height = 150.0, 26.0
    each = (width - left - 4) / max(1, len(columns))
    parts = []
    for j, column in enumerate(columns):
        x = left + each * (j + 0.5)
        parts.append(f'<text x="{x:.1f}" y="13" text-anchor="middle">{text(column, 24)}</text>')
    for i, row in enumerate(rows):
        y = 20 + height * i
        parts.append(
            f'<text x="{left - 8:g}" y="{y + 17:g}" text-anchor="end">{text(row, 24)}</text>'
        )
        for j, column in enumerate(columns):
            value, said = values.get((row, column), (0.0, ""))
            x = left + each * j
            shade = 0.06 + 0.94 * max(0.0, min(1.0, value)) if said else 0.03
            parts.append(
                f'<rect class="cell" x="{x:.1f}" y="{y:g}" width="{max(each - 2, 1):.1f}" '
                f'height="{height - 2:g}" fill-opacity="{shade:.2f}"><title>{text(row, 60)}, '
                f"{text(column, 60)}: {text(said, 60)}</title></rect>"
            )
            if said and each >= 44:
                over = ' class="over"' if shade > 0.55 else ""  # light ink on a dark shade
                parts.append(
                    f'<text{over} x="{x + each / 2 - 1:.1f}" y="{y + 17:g}" '
                    f'text-anchor="middle">{text(said, 16)}</text>'
                )
    return svg("".join(parts), width, 24 + height * len(rows), "heat map")


def svg(drawn: str, width: float, height: float, name: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text(name, 400)}">'
        f"{drawn}</svg>"
    )


def figure(drawn: str, caption: str = "") -> str:
    """`caption` is HTML."""
    told = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{drawn}{told}</figure>"


def short(value: float) -> str:
    """A number for an axis.

    >>> short(12500), short(18876), short(0.25), short(3.0)
    ('12.5k', '18.9k', '0.25', '3')
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.3g}k"
    return f"{value:.4g}"
