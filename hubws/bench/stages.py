"""How many connections there are at what time: stages, as k6 has them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import attrs

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(h|ms|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}

MAX_CONNECTIONS = 1_000_000
"""The most that a plan may have at a time."""


def seconds_of(text: str) -> float:
    """A duration such as 30s, 1m30s, 500ms or 2.5, which is in seconds. ValueError for others."""
    try:
        seconds = float(text)
    except ValueError:
        if _DURATION.fullmatch(text) is None:
            raise ValueError(
                f"{text!r} is no duration; it must be such as 30s, 1m30s or 500ms"
            ) from None
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a duration must be 0 seconds or more and finite, not {text}")
    return seconds


@attrs.frozen
class Stage:
    """From as many connections as there were to `target`, evenly, in so many seconds."""

    target: int
    seconds: float

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.target <= MAX_CONNECTIONS:
            raise ValueError(
                f"a stage has 0 to {MAX_CONNECTIONS} connections at its end, not {self.target}"
            )
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"a stage takes 0 seconds or more, not {self.seconds:g}")

    @classmethod
    def from_text(cls, text: str) -> Stage:
        """A stage as people write it, 100:30s. ValueError for what is none."""
        target, colon, duration = text.partition(":")
        if not colon or not target.isdecimal():
            raise ValueError(
                f"{text!r} is no stage; it must be CONNECTIONS:DURATION such as 100:30s"
            )
        return cls(int(target), seconds_of(duration))


@attrs.frozen
class Interval:
    """When one connection is there, in seconds since the beginning."""

    start: float
    stop: float


def intervals_of(stages: Iterable[Stage]) -> list[Interval]:
    """When each of the connections begins and ends, by their beginning.

    The one that came last leaves first. When the last stage is over, all of them end.
    """
    began: list[float] = []
    intervals: list[Interval] = []
    now = 0.0
    for stage in stages:
        change = stage.target - len(began)
        step = stage.seconds / abs(change) if change else 0.0
        began += [now + number * step for number in range(change)]
        intervals += [Interval(began.pop(), now + (number + 1) * step) for number in range(-change)]
        now += stage.seconds
    intervals += [Interval(start, now) for start in began]
    return sorted(intervals, key=lambda interval: (interval.start, interval.stop))
