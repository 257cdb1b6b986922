"""Holding a connection to its `rate_limit`, `idle_timeout` and `max_lifetime`.

A connection that has none of them has no limiter and a plain endpoint. With one, what the endpoint
makes of each read is counted, and judged where there is a rate to keep; times are looked at by
timers, so that neither costs anything for each message.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import trio

from ..errors import RemoteProtocolError
from ..protocol.endpoint import Endpoint, Event, Violation
from ..protocol.frames import CloseCode, Payload
from ..protocol.messages import Piece
from ..transport.abc import Transport
from ..transport.timers import Timer, Timers
from .rate_limit import RateLimit, TokenBucket

if TYPE_CHECKING:
    from .connection import Connection

Judge: TypeAlias = Callable[[list[Event], int, int], list[Event]]
"""Given the events of a read, how many of them are messages, and the bytes; returns what remains."""

IDLE_LOOKS = 4
"""How often within `idle_timeout` it is seen whether a message came."""


class LimitedEndpoint(Endpoint):
    """An endpoint that counts messages and has a judge go through what it received."""

    __slots__ = ("judge", "messages")

    messages: int
    judge: Judge | None

    def receive_data(self, buffer: Payload, end: int) -> list[Event]:
        """Take buffer[:end] and return what it brings and the judge lets through."""
        events = super().receive_data(buffer, end)
        count = len(events) if self.only_messages else sum(map(_is_message, events))
        self.messages += count
        return events if self.judge is None else self.judge(events, count, end)


class Limiter:
    """Holds one connection to its limits.

    Attributes:
        dropped: messages that were dropped because they came too fast.
        is_holding: whether the socket is not read because too much has come.

    """

    __slots__ = (
        "_byte_bucket",
        "_connection",
        "_endpoint",
        "_hold_timer",
        "_idle_timer",
        "_is_stopped",
        "_lifetime_timer",
        "_message_bucket",
        "_quiet_since",
        "_seen",
        "_timers",
        "_transport",
        "dropped",
        "is_holding",
    )

    def __init__(
        self,
        connection: Connection,
        endpoint: LimitedEndpoint,
        transport: Transport,
        timers: Timers,
    ) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._transport = transport
        self._timers = timers
        self._hold_timer: Timer | None = None
        self._idle_timer: Timer | None = None
        self._lifetime_timer: Timer | None = None
        self._is_stopped = False
        self._seen = 0  # messages at the last look
        self._quiet_since = 0.0
        self.dropped = 0
        self.is_holding = False
        endpoint.messages = 0
        endpoint.judge = None
        rate = connection.settings.rate_limit
        if rate is not None:
            self._message_bucket = _bucket(rate.messages, rate)
            self._byte_bucket = _bucket(rate.bytes, rate)
            judges = {"pause": self._pause, "drop": self._drop, "close": self._close}
            endpoint.judge = judges[rate.policy]

    def start(self) -> None:
        """Let the times begin: the connection is open."""
        settings = self._connection.settings
        if settings.max_lifetime < math.inf:
            self._lifetime_timer = self._timers.call_later(
                settings.max_lifetime, self._lifetime_over
            )
        if settings.idle_timeout < math.inf:
            self._quiet_since = trio.current_time()
            self._look_later()

    def stop(self) -> None:
        """The connection is closing: hold nothing back, for the peer's close frame is behind it."""
        self._is_stopped = True
        for timer in (self._hold_timer, self._idle_timer, self._lifetime_timer):
            if timer is not None:
                timer.cancel()
        if self.is_holding:
            self._release()

    def end(self) -> None:
        """The connection has ended: let go of it."""
        self.stop()
        self._endpoint.judge = None

    # -- time ----------------------------------------------------------------------------------

    def _lifetime_over(self) -> None:
        self._connection.close_nowait(CloseCode.GOING_AWAY, "lifetime")

    def _look_later(self) -> None:
        pause = self._connection.settings.idle_timeout / IDLE_LOOKS
        self._idle_timer = self._timers.call_later(pause, self._look)

    def _look(self) -> None:
        now = trio.current_time()
        connection, messages = self._connection, self._endpoint.messages
        # A peer that is held back because this side does not read can't be heard.
        if messages != self._seen or connection.is_paused:
            self._seen = messages
            self._quiet_since = now
        timeout = connection.settings.idle_timeout
        if now - self._quiet_since < timeout * (1 - 1e-9):  # four quarters may be a bit less
            self._look_later()
        else:
            connection.close_nowait(CloseCode.GOING_AWAY, f"idle for {timeout:g} s")

    # -- rate ----------------------------------------------------------------------------------

    def _pause(self, events: list[Event], count: int, size: int) -> list[Event]:
        """Let everything through, and read on when it is paid for."""
        now = trio.current_time()
        wait = 0.0
        if self._message_bucket is not None:
            wait = self._message_bucket.charge(count, now)
        if self._byte_bucket is not None:
            wait = max(wait, self._byte_bucket.charge(size, now))
        if wait > 0 and not self._is_stopped:
            if self._hold_timer is not None:
                self._hold_timer.cancel()
            self._hold_timer = self._timers.call_later(wait, self._release)
            self.is_holding = True
            self._transport.pause()
            self._connection.note_held_back()
        return events

    def _release(self) -> None:
        self._hold_timer = None
        self.is_holding = False
        if not self._connection.is_paused:
            self._transport.resume()

    def _drop(self, events: list[Event], count: int, size: int) -> list[Event]:
        """Let through what there are tokens for."""
        now = trio.current_time()
        bytes_bucket = self._byte_bucket
        admitted = count
        if bytes_bucket is not None:
            if bytes_bucket.tokens(now) < 0:
                admitted = 0  # what is thrown away is not charged, or a flood would end all traffic
            else:
                bytes_bucket.charge(size, now)
        if self._message_bucket is not None:
            admitted = self._message_bucket.take(admitted, now)
        if admitted == count:
            return events
        self.dropped += count - admitted
        kept = []
        for event in events:
            if _is_message(event):
                admitted -= 1
                if admitted < 0:
                    continue
            kept.append(event)
        return kept

    def _close(self, events: list[Event], count: int, size: int) -> list[Event]:
        """Let through what there are tokens for; what is beyond them ends the connection."""
        now = trio.current_time()
        admitted, is_over = count, False
        if self._byte_bucket is not None and self._byte_bucket.charge(size, now) > 0:
            admitted, is_over = 0, True
        if self._message_bucket is not None:
            admitted = self._message_bucket.take(admitted, now)
        if admitted == count and not is_over:
            return events
        kept: list[Event] = []
        for event in events:
            if _is_message(event):
                admitted -= 1
                if admitted < 0:
                    break
            kept.append(event)
        rate = self._connection.settings.rate_limit
        error = RemoteProtocolError(f"more than {rate}", CloseCode.POLICY_VIOLATION)
        kept.append(Violation(error))
        self._endpoint.only_messages = False
        return kept


def _bucket(rate: float | None, limit: RateLimit) -> TokenBucket | None:
    return None if rate is None else TokenBucket(rate, limit.burst, trio.current_time())


def _is_message(event: Event) -> bool:
    return isinstance(event, str | bytes) or (isinstance(event, Piece) and event.last)
