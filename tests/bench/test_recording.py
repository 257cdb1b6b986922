"""hubws/bench/recording.py: what was measured since it was last asked for."""

from __future__ import annotations

from hubws.bench.metrics import Metrics
from hubws.bench.recording import Recording


def test_each_time_is_taken_once():
    recording = Recording()
    times = recording.samples["ws_rtt"]
    times += [1_000, 1_999, 5_000_000]
    recording.drain()
    assert times == []
    times.append(7_000_000)
    total = Metrics()
    total.merge(recording.take())
    total.merge(recording.take())
    trend = total.trends["ws_rtt"]
    assert (len(trend), trend.minimum) == (4, 1e-6)
    assert trend.mean == (1 + 1 + 5000 + 7000) / 4 / 1e6


def test_counts_and_checks_begin_anew():
    recording = Recording()
    recording.count([("ws_sessions", 2), ("ws_sessions", 3)])
    recording.metrics.check("connected", True)
    assert recording.take()["counts"] == {"ws_sessions": 5}
    assert recording.take() == {"counts": {}, "trends": {}, "checks": {}, "errors": {}}
