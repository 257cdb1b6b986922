"""What one process has measured since it was last asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from itertools import repeat
from operator import floordiv
from typing import Any

from ..connection.connection import Connection
from .metrics import Metrics

REPORTED = ("ws_msgs_sent", "ws_msgs_received", "data_sent", "data_received")
"""What there is a count of on each connection."""

SAMPLED = ("ws_rtt", "ws_rtt_uncorrected", "ws_delivery")
"""Times that come with every message."""


class Recording:
    """Measurements of an interval; `take` begins the next one.

    Times of messages are put into plain lists, in ns. To add one to a histogram takes a microsecond, as
    long as everything else that is done for a message, so that is left until they are counted, those
    that share their first four digits together.
    """

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.samples: dict[str, list[int]] = {name: [] for name in SAMPLED}
        self._counts: dict[str, Counter[int]] = {name: Counter() for name in SAMPLED}

    def drain(self) -> None:
        """Count the times of messages; to be called again and again, so that few wait."""
        for name, times in self.samples.items():
            if times:
                step = max(1000, 10 ** (len(str(max(min(times), 1))) - 4))
                counts = self._counts[name]
                for steps, count in Counter(map(floordiv, times, repeat(step))).items():
                    counts[steps * step // 1000] += count
                times.clear()

    def take(self) -> dict[str, Any]:
        """What was measured since the last time, as JSON can have it."""
        self.drain()
        for name, counts in self._counts.items():
            if counts:
                self.metrics.trend(name).add_all(counts)
                counts.clear()
        taken = self.metrics.to_dict()
        self.metrics = Metrics()
        return taken

    def add_since(self, name: str, began: int) -> None:
        """Count the time from then to now; `began` is in ns of the monotonic clock."""
        self.metrics.trend(name).add((time.monotonic_ns() - began) // 1000)

    def count(self, figures: Iterable[tuple[str, int]]) -> None:
        """Add to counts, by their names."""
        counts = self.metrics.counts
        for name, figure in figures:
            counts[name] += figure


class Counted:
    """What goes over one connection is counted.

    Attributes:
        connection: None until there is one.
        sent, received: messages so far.

    """

    __slots__ = ("_recording", "_reported", "connection", "received", "sent")

    def __init__(self, recording: Recording, connection: Connection | None = None) -> None:
        self._recording = recording
        self._reported = (0, 0, 0, 0)
        self.connection = connection
        self.sent = self.received = 0

    def report(self) -> None:
        """Add what was counted since the last time to the recording."""
        assert self.connection is not None
        figures = self.connection.statistics()
        now = (self.sent, self.received, figures.bytes_sent, figures.bytes_received)
        self._recording.count(
            (name, new - old) for name, new, old in zip(REPORTED, now, self._reported, strict=True)
        )
        self._reported = now
