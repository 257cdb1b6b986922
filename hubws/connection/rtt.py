"""Round-trip times of one connection: pings in flight and what their pongs tell."""

from __future__ import annotations

import math
import os
import time
from array import array

import attrs
import trio

MAX_IN_FLIGHT = 64
"""The most pings of one connection that wait for their pong; an older one counts as lost."""

WINDOW = 128
"""Percentiles and the mean are those of this many last samples."""


@attrs.frozen
class RoundTripTimes:
    """What is known of a connection's round-trip time. Times are in seconds, NaN without samples.

    `queue_delay` is how long the last ping waited in this process before it reached the socket; it
    is not part of any other figure.
    """

    last: float
    minimum: float
    """Since the connection opened."""
    mean: float
    """Of the last 128 samples."""
    smoothed: float
    """Moving average with a weight of 1/8 for the newest (RFC 6298 §2)."""
    jitter: float
    """Mean difference between neighbours, weight 1/16 for the newest (RFC 3550 §6.4.1)."""
    samples: int
    """Pongs that answered a ping, since the connection opened."""
    lost: int
    """Pings that a later one overtook, or that were given up."""
    queue_delay: float
    window: tuple[float, ...] = attrs.field(repr=False)
    """The last 128 samples, oldest first."""

    def percentile(self, percent: float) -> float:
        """The smallest sample in the window, in seconds, that is not below that percentage of them.

        ValueError for what is not from 0 to 100; NaN without samples.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is 0 to 100, not {percent!r}")
        if not self.window:
            return math.nan
        rank = math.ceil(percent / 100 * len(self.window))
        return sorted(self.window)[max(rank, 1) - 1]


NO_ROUND_TRIPS = RoundTripTimes(
    math.nan, math.nan, math.nan, math.nan, math.nan, 0, 0, math.nan, ()
)


@attrs.define(eq=False)
class PingInFlight:
    """A ping that waits for its pong."""

    payload: bytes
    frame: bytes
    queued_at: float
    sent_at: float | None = None
    """When its bytes reached the socket."""
    rtt: float | None = None
    """Seconds, once its pong came, or that of a later ping."""
    task: trio.lowlevel.Task | None = None
    """Who waits for it."""


class PingTracker:
    """The pings in flight of one connection and the statistics of those that came back."""

    __slots__ = (
        "_in_flight", "_jitter", "_last", "_lost", "_minimum", "_queue_delay", "_samples",
        "_smoothed", "_unsent", "_window",
    )  # fmt: skip

    def __init__(self) -> None:
        self._in_flight: dict[bytes, PingInFlight] = {}
        self._unsent: list[PingInFlight] = []
        self._window = array("d")
        self._last = self._minimum = self._smoothed = self._jitter = math.nan
        self._queue_delay = math.nan
        self._samples = self._lost = 0

    @staticmethod
    def new_payload() -> bytes:
        """8 bytes of wall-clock time in ns, big endian, and 8 random bytes."""
        return time.time_ns().to_bytes(8, "big") + os.urandom(8)

    def start(self, payload: bytes, frame: bytes) -> PingInFlight:
        """Note a ping that is being queued. ValueError when one with that payload is in flight."""
        if payload in self._in_flight:
            raise ValueError(f"a ping with the payload {payload!r} is in flight already")
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            oldest = next((ping for ping in self._in_flight.values() if ping.task is None), None)
            if oldest is None:
                raise trio.WouldBlock(f"{MAX_IN_FLIGHT} pings are in flight and awaited")
            self.give_up(oldest)
        ping = PingInFlight(payload, frame, trio.current_time())
        self._in_flight[payload] = ping
        self._unsent.append(ping)
        return ping

    @property
    def has_unsent(self) -> bool:
        """Whether a ping has not reached the socket yet."""
        return bool(self._unsent)

    def stamp(self, waiting: list[bytes]) -> None:
        """The queued pings, but for those frames that still wait, have reached the socket just now."""
        now = trio.current_time()
        for ping in self._take_sent(waiting):
            ping.sent_at = now
            self._queue_delay = now - ping.queued_at

    def assume_sent(self, waiting: list[bytes]) -> None:
        """They have gone, it is not known when: a stream's pong may overtake its writer.

        Their time then counts from when they were queued.
        """
        for ping in self._take_sent(waiting):
            ping.sent_at = ping.queued_at

    def _take_sent(self, waiting: list[bytes]) -> list[PingInFlight]:
        sent = [ping for ping in self._unsent if ping.frame not in waiting]
        self._unsent = [ping for ping in self._unsent if ping.frame in waiting]
        return sent

    def give_up(self, ping: PingInFlight) -> None:
        """Count a ping as lost."""
        if self._in_flight.pop(ping.payload, None) is not None:
            self._lost += 1

    def answer(self, payload: bytes) -> float | None:
        """Take a pong; returns the round-trip time, None when it answers no ping that was sent.

        Pings sent before the one it answers count as lost, for a peer may answer only the last; who
        waits for them is given this pong's time since their own sending.
        """
        answered = self._in_flight.get(payload)
        if answered is None or answered.sent_at is None:
            return None
        now = trio.current_time()
        for ping in list(self._in_flight.values()):
            if ping.sent_at is None:
                continue
            ping.rtt = now - ping.sent_at
            del self._in_flight[ping.payload]
            self._wake(ping)
            if ping is answered:
                break
            self._lost += 1
        rtt = now - answered.sent_at
        self._add(rtt)
        return rtt

    def _add(self, rtt: float) -> None:
        if self._samples == 0:
            self._minimum = self._smoothed = rtt
            self._jitter = 0.0
        else:
            self._minimum = min(self._minimum, rtt)
            self._smoothed += (rtt - self._smoothed) / 8
            self._jitter += (abs(rtt - self._last) - self._jitter) / 16
        self._last = rtt
        if len(self._window) < WINDOW:
            self._window.append(rtt)
        else:
            self._window[self._samples % WINDOW] = rtt
        self._samples += 1

    async def wait(self, ping: PingInFlight) -> float | None:
        """Wait for the pong; None when the connection ended instead."""
        ping.task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            ping.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return ping.rtt

    @staticmethod
    def _wake(ping: PingInFlight) -> None:
        if ping.task is not None:
            trio.lowlevel.reschedule(ping.task)
            ping.task = None

    def end(self) -> None:
        """The connection has ended: wake everybody who waits."""
        for ping in self._in_flight.values():
            self._wake(ping)
            self._lost += 1
        self._in_flight.clear()
        self._unsent.clear()

    def statistics(self) -> RoundTripTimes:
        """What is known now."""
        start = self._samples % WINDOW if len(self._window) == WINDOW else 0
        window = (*self._window[start:], *self._window[:start])
        return RoundTripTimes(
            last=self._last,
            minimum=self._minimum,
            mean=sum(window) / len(window) if window else math.nan,
            smoothed=self._smoothed,
            jitter=self._jitter,
            samples=self._samples,
            lost=self._lost,
            queue_delay=self._queue_delay,
            window=window,
        )
