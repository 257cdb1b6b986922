"""What is measured, in the field's names, over an interval or a whole run.

Times are kept in HDR histograms of whole microseconds with three significant figures, so that those of
several processes add up without loss.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

try:
    from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
except ModuleNotFoundError as error:
    raise ImportError("load tests need hdrhistogram: pip install 'hubws[cli]'") from error

LARGEST = 3600 * 1_000_000
"""Microseconds; a longer time counts as this."""

FIGURES = 3
"""Significant ones that are kept of a time."""

PERCENTILES = (90, 95, 99)
"""Those of the table, beside the median."""

MAX_REASONS = 20
"""Different errors that are told apart."""


class Trend:
    """Times, in seconds when they are asked for and in microseconds when they are added."""

    __slots__ = ("_histogram", "_sum")

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, LARGEST, FIGURES)
        self._sum = 0  # the histogram's own mean takes 60 ms

    def __len__(self) -> int:
        return int(self._histogram.get_total_count())

    def add(self, microseconds: int, count: int = 1) -> None:
        """Count a time, so many times."""
        kept = min(max(microseconds, 1), LARGEST)
        self._histogram.record_value(kept, count)
        self._sum += kept * count

    def add_all(self, counts: Mapping[int, int]) -> None:
        """Count times; each key so many times."""
        for microseconds, count in counts.items():
            self.add(microseconds, count)

    def merge(self, encoded: str) -> None:
        """Add what another one has, from its `encode`."""
        total, _, histogram = encoded.partition(" ")
        self._histogram.decode_and_add(histogram)
        self._sum += int(total)

    def encode(self) -> str:
        """Everything, as text."""
        return f"{self._sum} {self._histogram.encode().decode()}"

    def percentile(self, percent: float) -> float:
        """The time that so many percent do not exceed, in seconds; NaN when there is none."""
        if not len(self):
            return math.nan
        return float(self._histogram.get_value_at_percentile(percent)) / 1e6

    @property
    def minimum(self) -> float:
        """The shortest time."""
        return float(self._histogram.get_min_value()) / 1e6 if len(self) else math.nan

    @property
    def maximum(self) -> float:
        """The longest time."""
        return float(self._histogram.get_max_value()) / 1e6 if len(self) else math.nan

    @property
    def mean(self) -> float:
        """The mean time, exact to the microsecond."""
        return self._sum / len(self) / 1e6 if len(self) else math.nan

    def figure(self, name: str) -> float:
        """One of avg, min, med, max, p90 and so on, in seconds. ValueError for another."""
        exact = {"avg": "mean", "min": "minimum", "max": "maximum"}
        if name in exact:
            return float(getattr(self, exact[name]))
        if name == "med":
            return self.percentile(50)
        try:
            percent = float(name.removeprefix("p")) if name.startswith("p") else math.nan
        except ValueError:
            percent = math.nan
        if not 0 <= percent <= 100:
            raise ValueError(f"{name!r} is none of avg, min, med, max, p90, p99.9 and so on")
        return self.percentile(percent)

    def to_dict(self) -> dict[str, float | int | None]:
        """The figures of the table, in seconds; None when there was nothing."""
        names = ["avg", "min", "med", "max", *(f"p{percent}" for percent in PERCENTILES)]
        figures = {name: self.figure(name) for name in names}
        return {"count": len(self)} | {
            name: None if math.isnan(value) else value for name, value in figures.items()
        }


class Metrics:
    """What was measured.

    Attributes:
        counts: by name, such as ws_msgs_sent.
        trends: by name, such as ws_rtt.
        checks: by name, how often they passed and how often not.
        errors: by what they say, how often.

    """

    __slots__ = ("checks", "counts", "errors", "trends")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.trends: dict[str, Trend] = {}
        self.checks: dict[str, list[int]] = {}
        self.errors: Counter[str] = Counter()

    def trend(self, name: str) -> Trend:
        """The trend of that name."""
        trend = self.trends.get(name)
        if trend is None:
            trend = self.trends[name] = Trend()
        return trend

    def check(self, name: str, passed: bool) -> None:  # noqa: FBT001 - what a check is about
        """Count a check."""
        self.checks.setdefault(name, [0, 0])[not passed] += 1

    def error(self, reason: str, count: int = 1) -> None:
        """Count an error."""
        if reason not in self.errors and len(self.errors) >= MAX_REASONS:
            reason = "others"
        self.errors[reason] += count

    def merge(self, data: Mapping[str, Any]) -> None:
        """Add what another one has, from its `to_dict`."""
        self.counts.update(data["counts"])
        for name, encoded in data["trends"].items():
            self.trend(name).merge(encoded)
        for name, (passed, failed) in data["checks"].items():
            mine = self.checks.setdefault(name, [0, 0])
            mine[0] += passed
            mine[1] += failed
        for reason, count in data["errors"].items():
            self.error(reason, count)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can have it."""
        return {
            "counts": dict(self.counts),
            "trends": {name: trend.encode() for name, trend in self.trends.items()},
            "checks": self.checks,
            "errors": dict(self.errors),
        }

    @property
    def checks_passed(self) -> tuple[int, int]:
        """How many checks passed, of how many."""
        passed = sum(one[0] for one in self.checks.values())
        return passed, sum(sum(one) for one in self.checks.values())
