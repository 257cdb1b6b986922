"""A histogram of times whose percentiles are at most 1 % off, however many it holds.

Bucket i counts the values in (g**(i-1), g**i] with g = (1 + e) / (1 - e), so that the value in its
middle is no more than the share e off from any of them: the mapping of DDSketch (Masson, Rim and Lee,
VLDB 2019). Buckets are kept from the lowest in use to the highest, 115 for each factor of ten.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from itertools import accumulate
from math import ceil, log

RELATIVE_ERROR = 0.01
"""The most that a percentile is off, as a share of it."""

SMALLEST, LARGEST = 1e-6, 3600.0
"""Seconds; what is beyond counts as these, which bounds a histogram at 1,101 buckets of 8 bytes."""

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SCALE = 1 / log(_GROWTH)
_MIDDLE = 2 / (1 + _GROWTH)
_LOWEST, _HIGHEST = ceil(log(SMALLEST) * _SCALE), ceil(log(LARGEST) * _SCALE)

PERCENTILES = (50, 90, 99)
"""Those in `to_dict`."""


class Histogram:
    """Counts times, in seconds; keeps none of them.

    Attributes:
        count: how many there are.
        minimum, maximum: exact; NaN when there is none.

    """

    __slots__ = ("_counts", "_first", "_sum", "count", "maximum", "minimum")

    def __init__(self) -> None:
        self._counts = array("Q")
        self._first = 0  # index of the bucket that `_counts` begins with
        self._sum = 0.0
        self.count = 0
        self.minimum = self.maximum = math.nan

    def add(self, value: float) -> None:
        """Count a time."""
        if SMALLEST < value < LARGEST:
            at = ceil(log(value) * _SCALE) - self._first
        else:
            at = (_LOWEST if value <= SMALLEST else _HIGHEST) - self._first
        if not 0 <= at < len(self._counts):
            at = self._make_room(at)
        self._counts[at] += 1
        self.count += 1
        self._sum += value
        if value < self.minimum:  # noqa: PLR1730 - min() takes twice as long
            self.minimum = value
        if value > self.maximum:  # noqa: PLR1730
            self.maximum = value

    def _make_room(self, at: int) -> int:
        """Keep a bucket that is outside; returns where it is then."""
        counts = self._counts
        if not counts:
            self._first, at = self._first + at, 0
            self.minimum, self.maximum = math.inf, -math.inf  # the value to come is both
        if at < 0:
            self._first += at
            self._counts = array("Q", bytes(-8 * at)) + counts
            return 0
        counts.frombytes(bytes(8 * (at + 1 - len(counts))))
        return at

    @property
    def mean(self) -> float:
        """Of all, exact but for rounding; NaN when there is none."""
        return self._sum / self.count if self.count else math.nan

    def percentile(self, percent: float) -> float:
        """The smallest time that is not below that percentage of all, at most 1 % off.

        Times under a microsecond and over an hour are told no better than that. NaN when there is
        none, ValueError for what is no percentage.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is 0 to 100, not {percent!r}")
        if not self.count:
            return math.nan
        rank = max(ceil(percent / 100 * self.count), 1)
        bucket = self._first + bisect_left(list(accumulate(self._counts)), rank)
        value: float = _GROWTH**bucket * _MIDDLE
        return min(max(value, self.minimum), self.maximum)

    def copy(self) -> Histogram:
        """Another one with the same times."""
        other = Histogram()
        other._counts = self._counts[:]
        other._first, other._sum, other.count = self._first, self._sum, self.count
        other.minimum, other.maximum = self.minimum, self.maximum
        return other

    def to_dict(self) -> dict[str, float | None]:
        """Plain data, for JSON: None instead of NaN."""
        figures = {"minimum": self.minimum, "mean": self.mean}
        figures |= {f"p{percent}": self.percentile(percent) for percent in PERCENTILES}
        figures["maximum"] = self.maximum
        return {"count": self.count} | {
            name: None if math.isnan(value) else value for name, value in figures.items()
        }

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}, {self.minimum:g} to {self.maximum:g} s>"
