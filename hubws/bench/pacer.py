"""Sending at times that were set in advance, however late the answers are.

A sender that waits for its answers sends less while the server is slow, and so hardly ever measures
when it is: coordinated omission. Here each message has its time; one that could not be sent then goes
as soon as it can, and what it took is counted from the time that was meant.
"""

from __future__ import annotations

import heapq
import itertools
import time
from typing import Protocol

from .alarm import NEVER, Alarm

TICK = 200_000
"""The least time between two rounds, in ns, so that those due together go together."""


LONGEST = 50_000_000
"""The longest that a round takes, in ns, before answers are read, however much is due."""


class Paced(Protocol):
    """Something that sends at its times."""

    def send_due(self, now: int) -> int:
        """Send what is due; returns when to be called again, in ns, or NEVER."""


class Pacer:
    """Calls senders at their times."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._heap: list[tuple[int, int, Paced]] = []
        self._order = itertools.count()

    def add(self, sender: Paced, when: int) -> None:
        """Call a sender at that time, in ns of the monotonic clock."""
        heapq.heappush(self._heap, (when, next(self._order), sender))
        if self._heap[0][0] == when:
            self._alarm.set(when)

    async def run(self) -> None:
        """Call those whose time has come, until cancelled."""
        heap = self._heap
        while True:
            now = time.monotonic_ns()
            while heap and heap[0][0] <= now:
                _, order, sender = heap[0]
                due = sender.send_due(now)
                if due == NEVER:
                    heapq.heappop(heap)
                else:
                    heapq.heapreplace(heap, (max(due, now + 1), order, sender))
                if time.monotonic_ns() - now > LONGEST:
                    break
            self._alarm.set(max(heap[0][0], now + TICK) if heap else NEVER)
            await self._alarm.wait()
