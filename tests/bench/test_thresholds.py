"""hubws/bench/thresholds.py: when a load test fails."""

from __future__ import annotations

import pytest

from hubws.bench.thresholds import Threshold
from tests.bench.results import result_of

RESULT = result_of()


@pytest.mark.parametrize(
    ("text", "is_crossed"),
    [
        ("p99>50ms", True),
        ("p99 > 1s", False),
        ("ws_rtt:p99>98.5ms", True),
        ("ws_rtt:med>=0.05", True),
        ("ws_rtt:p99.9<1ms", False),
        ("avg<1s", True),
        ("ws_connecting:max>1ms", True),
        ("ws_connecting:p95>2.5ms", False),
        ("ws_connecting:count<10", False),
        ("ws_msgs_received:rate<90", False),
        ("ws_msgs_received:rate<90.5", True),
        ("ws_msgs_sent:count==1000", True),
        ("checks:rate<99%", True),
        ("checks:rate<0.9", False),
        ("checks:count>10", False),
        ("errors:count>0", True),
        ("errors:rate>1", False),
        ("ws_delivery:p99>1s", True),  # which was not measured
    ],
)
def test_a_threshold(text: str, is_crossed: bool):
    assert Threshold.from_text(text).is_crossed(RESULT) is is_crossed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("p99>50ms", "99.0ms"),
        ("ws_msgs_sent:count>1", "1000"),
        ("checks:rate<1", "0.9"),
        ("ws_delivery:p99>1s", "nothing was measured"),
    ],
)
def test_what_was_measured(text: str, told: str):
    assert Threshold.from_text(text).told(RESULT) == told


@pytest.mark.parametrize("text", ["", "p99", "p99>", "p99>50x", "p101>1s", "p99=1s", "a b:p99>1s"])
def test_no_threshold(text: str):
    with pytest.raises(ValueError, match="is no threshold"):
        Threshold.from_text(text)
