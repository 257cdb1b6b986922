"""What a load test came to: figures for people and for programs."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from .metrics import Metrics, Trend
from .plan import Plan

COUNTS = (
    "checks",
    "data_received",
    "data_sent",
    "iterations",
    "ws_msgs_received",
    "ws_msgs_sent",
    "ws_sessions",
)
"""Those of the table that are always there."""

MAIN_TRENDS = ("ws_rtt", "ws_delivery", "ws_connecting")
"""The one that matters most in a run is the first of these that was measured."""


@attrs.frozen
class Second:
    """One second of a load test; times are in seconds, NaN where there were none."""

    number: int
    active: int
    sent: int
    received: int
    data_sent: int
    data_received: int
    errors: int
    times: dict[str, list[float]]
    """By trend: p50, p90, p99 and maximum."""

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can have it."""
        return attrs.asdict(self)

    @classmethod
    def of(cls, number: int, active: int, metrics: Metrics) -> Second:
        """What was measured in that second."""
        counts = metrics.counts
        return cls(
            number,
            active,
            counts["ws_msgs_sent"],
            counts["ws_msgs_received"],
            counts["data_sent"],
            counts["data_received"],
            sum(metrics.errors.values()),
            {
                name: [*(trend.percentile(percent) for percent in (50, 90, 99)), trend.maximum]
                for name, trend in metrics.trends.items()
                if len(trend)
            },
        )


@attrs.frozen(kw_only=True)
class Result:
    """What a load test came to.

    Attributes:
        plan: what was to be done.
        began_at: when it began.
        seconds: how long it took.
        total: what was measured.
        by_second: the same, in each second.
        is_interrupted: whether it was ended before its time.

    """

    plan: Plan
    began_at: datetime
    seconds: float
    total: Metrics
    by_second: list[Second]
    is_interrupted: bool

    @property
    def urls(self) -> list[str]:
        """Of the servers, without user and password."""
        return [re.sub("//[^/@]*@", "//", url) for url in self.plan.urls]

    @property
    def main_trend(self) -> str:
        """The name of the times that matter most."""
        return next((name for name in MAIN_TRENDS if name in self.total.trends), MAIN_TRENDS[0])

    @property
    def active_maximum(self) -> int:
        """Connections, or users, that there were at a time; told once a second."""
        return max((second.active for second in self.by_second), default=0)

    def rate(self, name: str) -> float:
        """How many there were of something in a second, on average."""
        return self.total.counts[name] / self.seconds if self.seconds else math.nan

    def counts(self) -> Iterator[tuple[str, int]]:
        """Names and figures of what is counted, but for checks; those that are 0 only if usual."""
        counts = self.total.counts
        for name in sorted({*COUNTS, *counts} - {"checks"}):
            if counts[name] or name in COUNTS:
                yield name, counts[name]

    def trends(self) -> Iterator[tuple[str, Trend]]:
        """Names and times."""
        return iter(sorted(self.total.trends.items()))

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can have it; times are in seconds."""
        passed, checked = self.total.checks_passed
        return {
            "urls": self.urls,
            "machine": machine(),
            "began_at": self.began_at.isoformat(timespec="seconds"),
            "seconds": self.seconds,
            "interrupted": self.is_interrupted,
            "connections": self.active_maximum,
            "counts": {
                name: {"count": count, "rate": _finite(self.rate(name))}
                for name, count in self.counts()
            },
            "trends": {name: trend.to_dict() for name, trend in self.trends()},
            "checks": {
                "passed": passed,
                "failed": checked - passed,
                "rate": passed / checked if checked else None,
                "by_name": {
                    name: {"passed": one[0], "failed": one[1]}
                    for name, one in self.total.checks.items()
                },
            },
            "errors": dict(self.total.errors),
            "by_second": [second.to_dict() for second in self.by_second],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def machine() -> str:
    """The machine in a few words: processor, cores, system, Python."""
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, {python}"


def in_words(seconds: float) -> str:
    """A time as k6 writes it, with three or four figures: 1.23ms."""
    if math.isnan(seconds):
        return "-"
    if seconds == 0:
        return "0"
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= factor or unit == "µs":
            value = seconds / factor
            digits = 0 if unit == "µs" or value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f}{unit}"
    raise AssertionError("every time has a unit")
