"""One task per trio run that calls back when a time has come, on trio's clock.

A task with a cancel scope for each of 10,000 idle connections would cost 20 MB; an entry here costs
some hundred bytes, and a cancelled one holds on to nothing.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections.abc import Callable

import trio

logger = logging.getLogger("hubws")


class Timer:
    """A call to come. `cancel` may be called at any time, also again."""

    __slots__ = ("_timers", "callback")

    def __init__(self, callback: Callable[[], None], timers: Timers) -> None:
        self.callback: Callable[[], None] | None = callback
        self._timers = timers

    def cancel(self) -> None:
        """Don't call."""
        if self.callback is not None:
            self.callback = None
            self._timers.count_cancelled()


class Timers:
    """The timers of one trio run, the `timers` of its poller."""

    __slots__ = ("_cancelled", "_heap", "_next", "_order", "_scope")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._next = -math.inf  # when the task looks at the heap by itself
        self._scope = trio.CancelScope()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back after that time. The callback must not raise."""
        return self.call_at(trio.current_time() + seconds, callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back at that time of trio's clock."""
        timer = Timer(callback, self)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        if when < self._next:
            self._next = self._scope.deadline = when
        return timer

    def count_cancelled(self) -> None:
        """Throw cancelled entries away once they are most of the heap."""
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def run(self) -> None:
        """Call back as times come, until cancelled."""
        while True:
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                timer = heapq.heappop(self._heap)[2]
                callback, timer.callback = timer.callback, None
                if callback is None:
                    self._cancelled -= 1
                    continue
                try:
                    callback()
                except Exception:
                    logger.exception("a timer's callback raised")
            self._next = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=self._next) as self._scope:
                await trio.sleep_forever()
            self._next = -math.inf
