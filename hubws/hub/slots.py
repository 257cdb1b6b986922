"""Turns that are spread evenly over an interval, and stay so as those who have one come and go.

Slot k is at the fraction of k times the golden ratio. However many slots there are, the gaps between
neighbours have at most three sizes (Steinhaus), and a new slot divides one of the widest.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import bisect_left, bisect_right, insort
from typing import Generic, TypeVar

Holder = TypeVar("Holder")

GOLDEN = (math.sqrt(5) - 1) / 2

SLICE = 0.05
"""Slots this close, in seconds, are served together: what they send is one flush.

With 10,000 slots in 10 s that is 50 pings at once; on a busy machine a ping and its pong took 49
microseconds of CPU then, and 61 with slices of 0.02 s.
"""

EARLY = 1e-6
"""A slot is served up to this many seconds early, so that rounding can't put it off by a slice."""


class Slots(Generic[Holder]):
    """Who has which slot, and whose time has come.

    Attributes:
        slice: seconds between calls of `due` that are worth it.

    """

    def __init__(self, interval: float, start: float) -> None:
        self.slice = min(SLICE, interval / 10)
        self._interval = interval
        self._start = start
        self._order: list[float] = []
        self._holders: dict[float, tuple[int, Holder]] = {}
        self._numbers = itertools.count()
        self._free_numbers: list[int] = []
        self._served = (0, 0.0)  # whole intervals since the start, and the slot reached in this one

    def __len__(self) -> int:
        return len(self._order)

    def add(self, holder: Holder) -> float:
        """Give a slot, in [0, 1): its share of the interval. Its first time is within the next one."""
        free = self._free_numbers
        number = heapq.heappop(free) if free else next(self._numbers)
        slot = number * GOLDEN % 1
        self._holders[slot] = (number, holder)
        insort(self._order, slot)
        return slot

    def remove(self, slot: float) -> None:
        """Take a slot back, for the next who comes."""
        number, _ = self._holders.pop(slot)
        del self._order[bisect_left(self._order, slot)]
        heapq.heappush(self._free_numbers, number)

    def due(self, now: float) -> list[Holder]:
        """Whose time has come since the last call, once each.

        When this comes late it gives twice as many as usual until it has caught up, not all at once;
        what is later than an interval is left out.
        """
        cycle, slot = self._served
        elapsed = max((now + EARLY - self._start) / self._interval, 0)
        new_cycle = math.floor(elapsed)
        end = elapsed - new_cycle
        cycle, slot = max((cycle, slot), (new_cycle - 1, end))
        order = self._order
        first, last = bisect_right(order, slot), bisect_right(order, end)
        due = order[first:last] if cycle == new_cycle else order[first:] + order[:last]
        at_once = math.ceil(2 * len(order) * self.slice / self._interval)
        if len(due) <= at_once:
            self._served = (new_cycle, end)
        else:
            due = due[:at_once]
            self._served = (cycle if due[-1] > slot else new_cycle, due[-1])
        return [self._holders[slot][1] for slot in due]

    def next_time(self) -> float:
        """When the next slot's time comes, or came; infinity without any."""
        if not self._order:
            return math.inf
        cycle, slot = self._served
        index = bisect_right(self._order, slot)
        if index == len(self._order):
            cycle, index = cycle + 1, 0
        return self._start + (cycle + self._order[index]) * self._interval
