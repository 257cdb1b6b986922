"""Round-trip times of all members of a hub: measured evenly, counted in little memory, watched.

Each member has a slot in the interval (see `slots`), in which it is pinged if its last ping is not on
its way any more. A timer of the trio run serves the slots; there is no task.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

from ..connection.connection import Connection
from ..connection.queue import Policy
from ..errors import ConnectionClosed
from ..transport.poller import current_poller
from .alarms import AlarmKind, Alarms, MonitorAlarm
from .feed import Feed
from .histogram import Histogram
from .hub import Hub
from .monitored import MonitoredConnection, MonitorSample, MonitorTotal, Watched
from .slots import Slots

ASK_KERNEL_EVERY = 8
"""While nobody takes samples, the kernel is asked with every so many pongs of a connection: that is
4 of the 6.5 microseconds that a pong costs here, for what changes slowly."""

WATCHED_AT_ONCE = 1000
"""How many newcomers get a slot in one turn, some five milliseconds; the others in the next."""

DESCRIBED_AT_ONCE = 256
"""How many connections `snapshot` describes before other tasks get a turn."""


class Monitor:
    """Pings the members of a hub and keeps statistics. See `open_monitor`."""

    def __init__(self, hub: Hub, interval: float, timeout: float, alarms: Alarms) -> None:
        self.hub = hub
        self.interval = interval
        self._timeout = timeout
        self._alarms = alarms
        self._watched: dict[Connection, Watched] = {}
        self._slots = Slots[Watched](interval, trio.current_time())
        self._look_every = min(1.0, interval / 10)
        self._look_at = -math.inf
        self._pings = self._lost = self._skipped = 0
        self._rtt, self._kernel_rtt, self._queue_delay = Histogram(), Histogram(), Histogram()
        self._sample_feeds: list[Feed[MonitorSample]] = []
        self._on_pong_of_all, self._forget_of_all = self._on_pong, self._forget  # bound once
        self._timers = current_poller().timers
        self._timer = self._timers.call_later(0, self._run)

    # -- the schedule --------------------------------------------------------------------------

    def _run(self) -> None:
        """Serve the slots whose time has come, and be called again for the next."""
        now = trio.current_time()
        if now >= self._look_at:
            self._follow_members()
            has_all = len(self._watched) == len(self.hub)
            self._look_at = now + (self._look_every if has_all else self._slots.slice)
        for one in self._slots.due(now):
            self._ping(one, now)
        next_time = max(self._slots.next_time(), now + self._slots.slice)
        self._timer = self._timers.call_later(min(next_time, self._look_at) - now, self._run)

    def _follow_members(self) -> None:
        members, watched = self.hub.connections, self._watched
        if members != watched.keys():
            for connection in [one for one in watched if one not in members]:
                self._forget(connection)
            newcomers = (one for one in members if one not in watched)
            for connection in list(itertools.islice(newcomers, WATCHED_AT_ONCE)):
                self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        one = self._watched[connection] = Watched(connection)
        one.slot = self._slots.add(one)
        connection.add_pong_callback(self._on_pong_of_all)
        connection.add_end_callback(self._forget_of_all)

    def _forget(self, connection: Connection) -> None:
        """It is no member any more, or has ended; its samples stay in the total."""
        one = self._watched.pop(connection)
        self._slots.remove(one.slot)
        connection.remove_pong_callback(self._on_pong_of_all)
        connection.remove_end_callback(self._forget_of_all)
        self._alarms.forget(connection)

    # -- pings and pongs -----------------------------------------------------------------------

    def _ping(self, one: Watched, now: float) -> None:
        connection = one.connection
        if one.awaited is not None and not self._give_up(one, now):
            one.skipped += 1
            self._skipped += 1
            return
        try:
            one.awaited = connection.ping_nowait()
        except ConnectionClosed:
            return
        except trio.WouldBlock:
            one.skipped += 1
            self._skipped += 1
            return
        one.queued_at = now
        one.pings += 1
        self._pings += 1

    def _give_up(self, one: Watched, now: float) -> bool:
        """Whether a ping's pong is not waited for any more; it is lost then.

        It may still come while the ping waits in this process, or nobody here reads.
        """
        connection = one.connection
        if connection.outbox.has_urgent or connection.is_paused:
            return False
        if not one.is_overtaken and now - one.queued_at + self._slots.slice < self._timeout:
            return False
        one.awaited = None
        if not one.is_overtaken:
            one.lost += 1
            self._lost += 1
            one.count_outcome(lost=True)
            self._check(one)
            self._publish(MonitorSample(connection, now, None, math.nan, None))
        one.is_overtaken = False
        return True

    def _on_pong(self, connection: Connection, payload: bytes, rtt: float | None) -> None:
        one = self._watched.get(connection)
        if one is None or one.awaited is None:
            return
        now = trio.current_time()
        if payload != one.awaited:
            # the pong of a later ping stands for this one too (RFC 6455 §5.5.3)
            one.is_overtaken |= rtt is not None and now - rtt > one.queued_at
            return
        one.awaited = None
        one.is_overtaken = False
        if rtt is None:  # it came behind the pong of a later ping, nobody knows how long
            return
        queue_delay = max(now - one.queued_at - rtt, 0.0)
        one.add(rtt, queue_delay)
        self._rtt.add(rtt)
        self._queue_delay.add(queue_delay)
        kernel = None
        if self._sample_feeds or one.rtt.count % ASK_KERNEL_EVERY == 1:
            kernel = connection.tcp_info()
            if kernel is not None:
                self._kernel_rtt.add(kernel.rtt)
        alarms = self._alarms
        if one.is_alarmed or one.smoothed > alarms.rtt_bound or one.loss > alarms.loss_bound:
            self._check(one)
        if self._sample_feeds:
            self._publish(MonitorSample(connection, now, rtt, queue_delay, kernel))

    def _check(self, one: Watched) -> None:
        self._alarms.check(one.connection, AlarmKind.RTT, one.smoothed)
        one.is_alarmed = self._alarms.check(one.connection, AlarmKind.LOSS, one.loss)

    def _publish(self, sample: MonitorSample) -> None:
        for feed in self._sample_feeds:
            feed.put(sample)

    # -- what is known -------------------------------------------------------------------------

    @property
    def total(self) -> MonitorTotal:
        """Figures of all members since the monitor was opened, those included that have left."""
        return MonitorTotal(
            connections=len(self._watched),
            pings=self._pings,
            lost=self._lost,
            skipped=self._skipped,
            rtt=self._rtt.copy(),
            kernel_rtt=self._kernel_rtt.copy(),
            queue_delay=self._queue_delay.copy(),
        )

    def connection(self, connection: Connection) -> MonitoredConnection:
        """Figures of a member. KeyError for one that is not, or not yet, monitored."""
        return self._watched[connection].figures()

    def __iter__(self) -> Iterator[Connection]:
        """The connections that are monitored."""
        return iter(list(self._watched))

    @property
    def active_alarms(self) -> list[MonitorAlarm]:
        """What was raised and has not been cleared, oldest first; at most two for a connection."""
        return self._alarms.active

    @contextlib.asynccontextmanager
    async def samples(
        self, limit: int = 1024, policy: Policy | str = Policy.DROP_OLDEST
    ) -> AsyncIterator[Feed[MonitorSample]]:
        """Iterate over the samples from now on, while the block runs or until the monitor closes.

        Every block gets all of them; `limit` may wait in it, then `policy` says what gives way:
        `drop_oldest`, `drop_newest` or `latest` (of each connection).

            async with monitor.samples() as samples:
                async for sample in samples:
                    print(sample.connection, sample.rtt)
        """
        feed = Feed[MonitorSample](limit, policy)
        with feed.joined_to(self._sample_feeds):
            yield feed

    def alarms(
        self, limit: int = 1024, policy: Policy | str = Policy.LATEST
    ) -> contextlib.AbstractAsyncContextManager[Feed[MonitorAlarm]]:
        """Iterate over alarms as they are raised and cleared, as with `samples`.

        It begins with those that are active. `latest` keeps the newest of each connection and kind.
        """
        return self._alarms.follow(limit, policy)

    async def snapshot(self) -> dict[str, Any]:
        """Everything as plain data, for JSON; times in seconds, None for what is not known.

        Some hundred connections at a time, so that other tasks run between them.
        """
        connections = [one async for one in self._describe()]
        return self._summary() | {"connections": connections}

    async def to_json(self) -> str:
        """`snapshot` as JSON."""
        connections = [json.dumps(one) async for one in self._describe()]
        return f'{json.dumps(self._summary())[:-1]}, "connections": [{", ".join(connections)}]}}'

    def _summary(self) -> dict[str, Any]:
        return {
            "time": time.time(),
            "interval": self.interval,
            "total": self.total.to_dict(),
            "alarms": [alarm.to_dict() for alarm in self._alarms.active],
        }

    async def _describe(self) -> AsyncIterator[dict[str, Any]]:
        for index, one in enumerate(list(self._watched.values())):
            if index % DESCRIBED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            yield one.figures().to_dict()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Ping no more, clear all alarms and end the iterations over samples and alarms."""
        self._timer.cancel()
        for connection in list(self._watched):
            self._forget(connection)
        self._alarms.close()
        for feed in self._sample_feeds:
            feed.close()


@contextlib.asynccontextmanager
async def open_monitor(
    hub: Hub,
    *,
    interval: float = 10.0,
    timeout: float = 5.0,  # noqa: ASYNC109 - of each ping, not of this
    rtt_bound: float | None = None,
    loss_bound: float | None = None,
    clear_at: float = 0.8,
) -> AsyncIterator[Monitor]:
    """Measure the round-trip times of a hub's members while the block runs.

    Args:
        hub: whose members are pinged; those who come later are found within a second.
        interval: seconds between two pings of the same member.
        timeout: seconds after which a ping without a pong is lost, looked at in the member's slots;
            until then it is not pinged again.
        rtt_bound: seconds; an alarm is raised when a member's smoothed round-trip time is over it.
        loss_bound: likewise the share, 0 to 1, of its last 16 pings that were lost.
        clear_at: an alarm is cleared when the value is down to this share of its bound.

    Raises ValueError for numbers that make no sense.

    """
    for name, value in [("interval", interval), ("timeout", timeout), ("rtt_bound", rtt_bound)]:
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be over 0 seconds, not {value!r}")
    for name, value in [("loss_bound", loss_bound), ("clear_at", clear_at)]:
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must be a share from 0 to 1, not {value!r}")
    monitor = Monitor(hub, interval, timeout, Alarms(rtt_bound, loss_bound, clear_at))
    try:
        yield monitor
    finally:
        monitor.close()
