"""Thresholds that make a load test a test: ws_rtt:p99>50ms."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable

import attrs

from .metrics import Trend
from .plan import Answers
from .result import Result, in_words
from .stages import seconds_of

_PATTERN = re.compile(
    r"\s*(?:([a-z]\w*):)?([a-z][\w.]*)\s*(>=|<=|>|<|==)\s*([\d.]+)\s*([a-z%]*)\s*"
)

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}

_COUNTED = ("count", "rate")
EXAMPLES = (
    '"p99>50ms", "ws_connecting:p95>100ms", "ws_msgs_received:rate<1000", "checks:rate<99%" '
    'or "errors:count>0"'
)


@attrs.frozen
class Threshold:
    """What must not be so at the end.

    Args:
        text: as the user wrote it.
        metric: ws_rtt, ws_msgs_sent, checks, errors and so on; None for ws_rtt, in a broadcast
            ws_delivery.
        figure: avg, min, med, max or p99 of times; count or rate, which is by the second, of counts
            and errors; rate of checks, from 0 to 1.

    """

    text: str
    metric: str | None
    figure: str
    compare: Callable[[float, float], bool]
    limit: float

    @classmethod
    def from_text(cls, text: str) -> Threshold:
        """A threshold as people write it. ValueError for what is none."""
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no threshold; it must be such as {EXAMPLES}")
        metric, figure, sign, number, unit = found.groups()
        try:
            limit = seconds_of(number + unit) if unit not in ("", "%") else float(number)
            if figure not in _COUNTED:
                Trend().figure(figure)
        except ValueError as error:
            raise ValueError(f"{text!r} is no threshold: {error}; such as {EXAMPLES}") from None
        if unit == "%":
            limit /= 100
        return cls(text, metric, figure, _OPERATORS[sign], limit)

    def measured(self, result: Result) -> float:
        """The figure that it is about; NaN when there was nothing to measure."""
        total, seconds = result.total, result.seconds
        is_broadcast = result.plan.answers is Answers.BROADCAST
        metric = self.metric or ("ws_delivery" if is_broadcast else "ws_rtt")
        if metric == "checks":
            passed, checked = total.checks_passed
            if self.figure == "count":
                return float(checked)
            return passed / checked if checked else math.nan
        if self.figure in _COUNTED:
            count = (
                sum(total.errors.values())
                if metric == "errors"
                else len(total.trends[metric])
                if metric in total.trends
                else total.counts[metric]
            )
            return count / seconds if self.figure == "rate" and seconds else float(count)
        trend = total.trends.get(metric)
        return math.nan if trend is None else trend.figure(self.figure)

    def is_crossed(self, result: Result) -> bool:
        """Whether it is so, or could not be measured."""
        measured = self.measured(result)
        return math.isnan(measured) or self.compare(measured, self.limit)

    def told(self, result: Result) -> str:
        """What was measured, for people."""
        measured = self.measured(result)
        if math.isnan(measured):
            return "nothing was measured"
        return f"{measured:g}" if self.figure in _COUNTED else in_words(measured)
