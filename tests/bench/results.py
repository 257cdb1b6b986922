"""Results of load tests that never were."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hubws.bench.messages import Fixed
from hubws.bench.metrics import Metrics
from hubws.bench.plan import Plan
from hubws.bench.result import Result, Second
from hubws.bench.stages import Stage


def result_of(seconds: int = 10, **plan: Any) -> Result:
    """Ten connections that sent 100 messages a second, each of which took 1 to 100 ms."""
    total = Metrics()
    by_second = []
    for number in range(seconds):
        one = Metrics()
        one.counts.update(ws_msgs_sent=100, ws_msgs_received=90, data_sent=1500, data_received=1300)
        for ms in range(1, 101):
            one.trend("ws_rtt").add(ms * 1000)
        if number == 0:
            one.trend("ws_connecting").add(2000, 10)
            one.counts["ws_sessions"] += 10
            for _ in range(9):
                one.check("connected", True)
            one.check("connected", False)
            one.error("refused <by> the server")
        by_second.append(Second.of(number, 10, one))
        total.merge(one.to_dict())
    arguments: dict[str, Any] = {"urls": ("ws://ada:secret@127.0.0.1:1/<x>",), "rate": 10.0} | plan
    return Result(
        plan=Plan(stages=(Stage(10, 0.0), Stage(10, seconds)), message=Fixed("x"), **arguments),
        began_at=datetime(2026, 11, 21, 12, 0, tzinfo=UTC),
        seconds=float(seconds),
        total=total,
        by_second=by_second,
        is_interrupted=False,
    )
