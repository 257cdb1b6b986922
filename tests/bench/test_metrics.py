"""hubws/bench/metrics.py: times and counts, of several processes together."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubws.bench.metrics import LARGEST, MAX_REASONS, Metrics, Trend

times = st.lists(st.integers(1, LARGEST), min_size=1, max_size=50)


def trend_of(values: list[int]) -> Trend:
    trend = Trend()
    for value in values:
        trend.add(value)
    return trend


@settings(max_examples=20)
@given(times)
def test_figures_are_a_thousandth_off_at_most(values: list[int]):
    trend, exact = trend_of(values), sorted(values)
    assert len(trend) == len(values)
    for percent in (50, 90, 99, 100):
        rank = max(int(percent / 100 * len(exact) + 0.5), 1)
        assert trend.percentile(percent) == pytest.approx(exact[rank - 1] / 1e6, rel=0.001)
    assert trend.figure("max") == pytest.approx(exact[-1] / 1e6, rel=0.001)
    assert trend.figure("min") == pytest.approx(exact[0] / 1e6, rel=0.001)
    assert trend.figure("avg") == pytest.approx(sum(exact) / len(exact) / 1e6, rel=1e-9)


@settings(max_examples=20)
@given(times, times)
def test_two_together_are_as_one(one: list[int], other: list[int]):
    merged = trend_of(one)
    merged.merge(trend_of(other).encode())
    assert merged.to_dict() == trend_of(one + other).to_dict()


def test_what_is_beyond_counts_as_the_limit():
    trend = trend_of([-5, 0, LARGEST * 2])
    assert len(trend) == 3
    assert trend.minimum == 1e-6
    assert trend.maximum == pytest.approx(LARGEST / 1e6, rel=0.001)


def test_many_at_once():
    trend = Trend()
    trend.add_all({100: 99, 5000: 1})
    assert (len(trend), trend.percentile(99)) == (100, pytest.approx(1e-4))


def test_nothing():
    trend = Trend()
    assert math.isnan(trend.figure("p99"))
    assert set(trend.to_dict().values()) == {0, None}


@pytest.mark.parametrize("name", ["p", "p101", "pp", "mean", "q50", "p-1"])
def test_no_such_figure(name: str):
    with pytest.raises(ValueError, match="is none of avg, min, med, max"):
        trend_of([1]).figure(name)


def test_metrics_travel_as_json_and_add_up():
    total = Metrics()
    for number in (1, 2):
        one = Metrics()
        one.counts["ws_msgs_sent"] += number
        one.check("connected", number == 1)
        one.trend("ws_rtt").add(1000 * number)
        one.error("lost")
        total.merge(json.loads(json.dumps(one.to_dict())))
    assert total.counts == {"ws_msgs_sent": 3}
    assert total.checks == {"connected": [1, 1]}
    assert total.checks_passed == (1, 2)
    assert total.trend("ws_rtt").maximum == pytest.approx(0.002, rel=0.001)
    assert total.errors == {"lost": 2}


def test_only_so_many_errors_are_told_apart():
    metrics = Metrics()
    for number in range(MAX_REASONS + 5):
        metrics.error(f"error {number}")
    assert len(metrics.errors) == MAX_REASONS + 1
    assert metrics.errors["others"] == 5
