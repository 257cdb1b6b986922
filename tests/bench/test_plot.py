"""hubws/bench/plot.py: lines as SVG."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.bench.plot import HEIGHT, MAX_POINTS, WIDTH, Line, Scale, line_plot, nice_step, thinned

values = st.floats(1e-6, 1e6)


def plot(*lines: Line) -> str:
    return line_plot("a <title>", lines, x_words=lambda x: f"{x:g} s", y_words=lambda y: f"{y:g}")


@given(st.lists(st.lists(values, max_size=30), max_size=4))
def test_every_plot_is_xml_inside_its_frame(series: list[list[float]]):
    lines = [Line(f"p{n}", list(enumerate(ys))) for n, ys in enumerate(series)]
    text = plot(*lines)
    if not any(series):
        assert text == ""
        return
    root = ET.fromstring(text)
    for path in root.iter("path"):
        numbers = path.attrib["d"].replace("M", " ").replace("L", " ").replace("H", " ").split()
        assert all(0 <= float(number) <= max(WIDTH, HEIGHT) for number in numbers)
    titles = [title.text or "" for title in root.iter("title")]
    assert len(titles) == len({x for line in lines for x, _ in line.points})


def test_what_is_under_the_pointer():
    assert "<title>1 s: sent 20, received 10</title>" in plot(
        Line("sent", [(0, 10), (1, 20)]), Line("received", [(1, 10)])
    )


def test_a_single_point_is_seen():
    assert "<circle" in plot(Line("one", [(0, 1)]))


@given(st.lists(st.tuples(values, values), max_size=2000))
def test_thinned_lines_keep_their_peak(points: list[tuple[float, float]]):
    thin = thinned(points)
    assert len(thin) <= MAX_POINTS
    assert max((y for _, y in thin), default=0) == max((y for _, y in points), default=0)


@given(values, st.floats(1.5, 1e6))
def test_ticks_are_within_the_scale(low: float, ratio: float):
    for is_logarithmic in (False, True):
        scale = Scale(low, low * ratio, 0, 100, is_logarithmic)
        ticks = list(scale.ticks())
        assert all(-1 <= scale(tick) <= 101 for tick in ticks)
        assert len(ticks) <= 12


@pytest.mark.parametrize(
    ("size", "step"), [(0.7, 1), (1, 1), (1.1, 2), (3, 5), (7, 10), (0.03, 0.05)]
)
def test_steps(size: float, step: float):
    assert nice_step(size) == pytest.approx(step)
