"""The histogram: as accurate as it says, against exact percentiles."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.hub.histogram import LARGEST, RELATIVE_ERROR, SMALLEST, Histogram

PERCENTS = [0, 1, 10, 25, 50, 75, 90, 95, 99, 99.9, 100]


def exact(values: list[float], percent: float) -> float:
    return sorted(values)[max(math.ceil(percent / 100 * len(values)), 1) - 1]


def histogram_of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(
    values=st.lists(st.floats(SMALLEST, LARGEST), min_size=1),
    percent=st.sampled_from(PERCENTS) | st.floats(0, 100),
)
def test_percentiles_are_at_most_one_percent_off(values: list[float], percent: float) -> None:
    told, truth = histogram_of(values).percentile(percent), exact(values, percent)
    assert abs(told - truth) <= RELATIVE_ERROR * truth * (1 + 1e-9)


@pytest.mark.parametrize(
    "draw",
    [
        lambda source: source.lognormvariate(-4, 1),
        lambda source: source.expovariate(20) + 0.01,
        lambda source: source.uniform(1e-6, 1),
        lambda source: source.choice([0.0001, 0.0002, 0.05, 3.0]),
        lambda source: source.paretovariate(0.5) / 1000,
    ],
    ids=["lognormal", "exponential", "uniform", "few values", "heavy tail"],
)
def test_many_values(draw: Callable[[random.Random], float]) -> None:
    source = random.Random(7)
    values = [min(draw(source), LARGEST) for _ in range(20_000)]
    histogram = histogram_of(values)
    for percent in PERCENTS:
        truth = exact(values, percent)
        assert abs(histogram.percentile(percent) - truth) <= RELATIVE_ERROR * truth * (1 + 1e-9)
    assert histogram.count == 20_000
    assert histogram.minimum == min(values)
    assert histogram.maximum == max(values)
    assert math.isclose(histogram.mean, fmean(values))


def test_what_is_beyond_its_range() -> None:
    histogram = histogram_of([0.0, 1e-9, 1e6])
    assert 0 <= histogram.percentile(0) <= SMALLEST * 1.01
    assert LARGEST * 0.99 <= histogram.percentile(100) <= 1e6
    assert histogram_of([0.0]).percentile(50) == 0.0
    assert (histogram.minimum, histogram.maximum) == (0.0, 1e6)


def test_memory_is_bounded() -> None:
    """Values all over the range, in the order that makes it grow at both ends."""
    histogram = histogram_of([1.0])
    value = 1.0
    while value < LARGEST * 10:
        value *= 1.005
        histogram.add(value)
        histogram.add(1 / value**2)
    assert len(histogram._counts) <= 1101
    narrow = histogram_of([0.1 + index / 1e6 for index in range(900_000 // 100)])
    assert len(narrow._counts) * narrow._counts.itemsize < 1000


def test_empty() -> None:
    histogram = Histogram()
    assert math.isnan(histogram.percentile(50))
    assert math.isnan(histogram.mean)
    assert histogram.to_dict() == {
        "count": 0, "minimum": None, "mean": None, "p50": None, "p90": None, "p99": None,
        "maximum": None,
    }  # fmt: skip


@pytest.mark.parametrize("percent", [-1, 100.1, math.nan])
def test_no_percentage(percent: float) -> None:
    with pytest.raises(ValueError, match="0 to 100"):
        histogram_of([1.0]).percentile(percent)


def test_a_copy_stays_as_it_is() -> None:
    histogram = histogram_of([1.0, 2.0])
    copy = histogram.copy()
    histogram.add(100.0)
    assert copy.to_dict() == histogram_of([1.0, 2.0]).to_dict()
    assert copy.maximum == 2.0
    assert repr(copy) == "<Histogram of 2, 1 to 2 s>"
