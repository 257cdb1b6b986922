"""hubws/bench/result.py and tables.py: what a load test came to."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from hubws.bench.result import in_words
from hubws.bench.tables import line_of, size_in_words, tables_of
from tests.bench.results import result_of


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1e-6, "1µs"), (0.0009, "900µs"), (0.00123, "1.23ms"), (0.0123, "12.3ms"),
        (0.123, "123ms"), (1.5, "1.50s"), (123.4, "123s"), (float("nan"), "-"),
    ],
)  # fmt: skip
def test_times_in_words(seconds: float, words: str):
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1234567, "1.23 MB"), (5e12, "5 TB")],
)
def test_sizes_in_words(size: float, words: str):
    assert size_in_words(size) == words


def test_as_json():
    told = json.loads(json.dumps(result_of().to_dict(), allow_nan=False))
    assert told["urls"] == ["ws://127.0.0.1:1/<x>"]
    assert told["counts"]["ws_msgs_sent"] == {"count": 1000, "rate": 100.0}
    assert told["trends"]["ws_rtt"]["p99"] == pytest.approx(0.099, rel=0.001)
    assert told["checks"]["rate"] == 0.9
    assert told["errors"] == {"refused <by> the server": 1}
    assert len(told["by_second"]) == 10
    assert told["by_second"][3]["times"]["ws_rtt"] == pytest.approx(
        [0.05, 0.09, 0.099, 0.1], rel=0.001
    )


def shown(*what: object) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        for one in what:
            console.print(one)
    return captured.get()


def test_as_tables_of_eighty_columns():
    text = shown(*tables_of(result_of()))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    words = [line.split() for line in lines]
    assert ["times", "avg", "min", "med", "max", "p90", "p95", "p99"] in words
    assert ["ws_rtt", "50.5ms", "1.00ms", "50.0ms", "100ms", "90.0ms", "95.0ms", "99.0ms"] in words
    assert ["ws_msgs_sent", "1,000", "100"] in words
    assert ["data_sent", "15", "kB", "1.5", "kB"] in words
    assert ["✗", "connected", "90.00%", "9", "passed,", "1", "failed"] in words
    assert "1 x refused <by> the server" in text


def test_a_second_in_a_line():
    result = result_of()
    line = str(line_of(result.by_second[0], result.plan))
    assert line.startswith("1s ━")
    assert "10 connections  100 sent/s  90 received/s" in line
    assert "ws_rtt p50 50.0ms p99 99.0ms max 100ms" in line
    assert line.endswith("1 errors")
