"""Line plots as SVG, without any library, in the colours of the page around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

import attrs

WIDTH, HEIGHT = 560, 280
LEFT, RIGHT, TOP, BOTTOM = 70, 12, 10, 34

MAX_POINTS = 300
"""More are put together, so that a page of a long test stays small."""

LOGARITHMIC = 30
"""From this ratio of the largest to the smallest value on, a scale is logarithmic."""

Words = Callable[[float], str]


@attrs.frozen
class Line:
    """One line: a name for the legend, and points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


@attrs.frozen
class Scale:
    """Where a value is drawn: from `low` at `start` to `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.is_logarithmic:
            value, low, high = (math.log10(max(one, self.low)) for one in (value, low, high))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        """Round values to be labelled."""
        if not self.is_logarithmic:
            step = nice_step((self.high - self.low) / 6)
            first = math.ceil(self.low / step - 1e-9)
            for number in range(first, math.floor(self.high / step + 1e-9) + 1):
                yield number * step
            return
        decades = math.log10(self.high / self.low)
        for exponent in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))):
            for factor in (1, 2, 5) if decades < 3 else (1,):
                tick = factor * 10.0**exponent
                if self.low <= tick <= self.high:
                    yield tick


def nice_step(size: float) -> float:
    """The first of 1, 2, 5, 10 and so on that is not smaller."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * 0.999)


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MAX_POINTS`; of neighbours the largest stays, so that no peak gets lost."""
    width = math.ceil(len(points) / MAX_POINTS)
    if width <= 1:
        return list(points)
    groups = (points[at : at + width] for at in range(0, len(points), width))
    return [(group[0][0], max(y for _, y in group)) for group in groups]


def line_plot(
    title: str,
    lines: Sequence[Line],
    *,
    x_words: Words,
    y_words: Words,
    x_ticks: Sequence[float] | None = None,
) -> str:
    """A figure with a title, a legend and lines over one x axis; empty when there is nothing to draw.

    The y axis begins at 0, unless it is logarithmic.
    """
    drawn = [Line(line.name, thinned(line.points)) for line in lines if line.points]
    points = [point for line in drawn for point in line.points]
    if not points:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    positive = [y for y in ys if y > 0]
    is_logarithmic = bool(positive) and max(positive) / min(positive) > LOGARITHMIC
    low = min(positive) * 0.8 if is_logarithmic else 0.0
    x = Scale(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, LEFT, WIDTH - RIGHT)
    y = Scale(low, max(ys) * 1.1 or 1.0, HEIGHT - BOTTOM, TOP, is_logarithmic)
    parts = [
        f"<figure><figcaption>{escape(title)}{_legend(drawn)}</figcaption>",
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
    ]
    for tick in y.ticks():
        at = y(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{at + 5:.1f}" text-anchor="end">{escape(y_words(tick))}</text>'
        )
    for tick in x.ticks() if x_ticks is None else x_ticks:
        if not x.low <= tick <= x.high:
            continue
        parts.append(
            f'<text x="{x(tick):.1f}" y="{HEIGHT - 10}" text-anchor="middle">'
            f"{escape(x_words(tick))}</text>"
        )
    for number, line in enumerate(drawn):
        parts.append(_drawn(number, line, x, y))
    parts += _marks(drawn, x, x_words, y_words)
    return "\n".join([*parts, "</svg></figure>"])


def _legend(lines: Sequence[Line]) -> str:
    if len(lines) < 2:
        return ""
    names = (
        f'<span class="line{number}">{escape(line.name)}</span>'
        for number, line in enumerate(lines)
    )
    return f'<span class="legend">{"".join(names)}</span>'


def _drawn(number: int, line: Line, x: Scale, y: Scale) -> str:
    places = [(x(at), y(value)) for at, value in line.points]
    if len(places) == 1:
        (left, top) = places[0]
        return f'<circle class="line{number}" cx="{left:.1f}" cy="{top:.1f}" r="4"/>'
    path = "L".join(f"{left:.1f} {top:.1f}" for left, top in places)
    return f'<path class="line{number}" d="M{path}"/>'


def _marks(lines: Sequence[Line], x: Scale, x_words: Words, y_words: Words) -> Iterator[str]:
    """What is told of each place under the pointer."""
    by_x: dict[float, list[str]] = {}
    for line in lines:
        for at, value in line.points:
            by_x.setdefault(at, []).append(f"{line.name} {y_words(value)}")
    width = (WIDTH - LEFT - RIGHT) / max(len(by_x), 1)
    for at, told in by_x.items():
        yield (
            f'<rect class="mark" x="{x(at) - width / 2:.1f}" y="{TOP}" width="{width:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(x_words(at))}: '
            f"{escape(', '.join(told))}</title></rect>"
        )
