"""A chart of growth as SVG: both axes logarithmic, so that a cost in proportion is a line of slope one."""

import math
from collections.abc import Sequence
from html import escape

from msgspec import Struct

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 64, 190, 24, 48
COLOURS = ("#1b6ca8", "#c8553d", "#2e8b57", "#7b4fa3", "#b8860b", "#444444")


class Curve(Struct, frozen=True):
    """A name and its points, all positive: how many there are, and what they cost."""

    name: str
    points: tuple[tuple[float, float], ...]

    @property
    def exponent(self) -> float:
        """
        The slope of the line through the logarithms, by least squares over the upper half of the points.

        What does not grow is a large part of a small cost, so the lower half would hide growth.
        """
        upper = self.points[len(self.points) // 2 - 1 :]
        xs, ys = [math.log(x) for x, _ in upper], [math.log(y) for _, y in upper]
        x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
        above = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
        return above / sum((x - x_mean) ** 2 for x in xs)


def svg(curves: Sequence[Curve], across: str, up: str) -> str:
    """All curves over one pair of axes, with their exponents."""
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points]
    x_range, y_range = _range(xs), _range(ys)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_grid(x_range, y_range),
        f'<text x="{LEFT}" y="{HEIGHT - 10}">{escape(across)}</text>',
        f'<text x="{LEFT}" y="14">{escape(up)}</text>',
    ]
    for place, curve in enumerate(curves):
        colour = COLOURS[place % len(COLOURS)]
        points = [(_across(x, x_range), _up(y, y_range)) for x, y in curve.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        y = TOP + 14 * (place + 1)
        name = f"{curve.name}: n^{curve.exponent:.2f}"
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _range(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten between which all values lie."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _across(value: float, powers: tuple[int, int]) -> float:
    share = (math.log10(value) - powers[0]) / (powers[1] - powers[0])
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _up(value: float, powers: tuple[int, int]) -> float:
    share = (math.log10(value) - powers[0]) / (powers[1] - powers[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid(x_range: tuple[int, int], y_range: tuple[int, int]) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    lines = []
    for power in range(x_range[0], x_range[1] + 1):
        x = _across(10.0**power, x_range)
        lines.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{10.0**power:g}</text>')
    for power in range(y_range[0], y_range[1] + 1):
        y = _up(10.0**power, y_range)
        lines.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    return lines
