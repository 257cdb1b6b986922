"""Keepalive: one ping at a time, and the end of a connection whose peer does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..protocol.frames import CloseCode
from ..transport.timers import Timer, Timers

if TYPE_CHECKING:
    from .connection import Connection


class Keepalive:
    """Pings a connection `interval` seconds after its last pong and gives the pong `timeout`.

    A peer that is held back because this side reads nothing can't be heard, and its pong may be
    behind much else then: it is given its time anew.

    Attributes:
        was_held_back: whether the peer was, since the ping or since it was given more time.

    """

    __slots__ = (
        "_awaited",
        "_connection",
        "_interval",
        "_timeout",
        "_timer",
        "_timers",
        "was_held_back",
    )

    def __init__(
        self, connection: Connection, timers: Timers, interval: float, timeout: float
    ) -> None:
        self._connection = connection
        self._timers = timers
        self._interval = interval
        self._timeout = timeout
        self._awaited: bytes | None = None  # payload of the ping in flight
        self.was_held_back = False
        self._timer: Timer = timers.call_later(interval, self._ping)

    def _ping(self) -> None:
        try:
            self.was_held_back = False
            self._awaited = self._connection.ping_nowait()
        except trio.WouldBlock:  # the application has 64 pings of its own in flight
            self._wait(self._interval)
        else:
            self._wait(self._timeout)

    def _wait(self, seconds: float) -> None:
        self._timer.cancel()
        callback = self._ping if self._awaited is None else self._expire
        self._timer = self._timers.call_later(seconds, callback)

    def on_pong(self, payload: bytes) -> None:
        """Take note of a pong."""
        if payload == self._awaited:
            self._awaited = None
            self._wait(self._interval)

    def _expire(self) -> None:
        if self.was_held_back or self._connection.is_paused:
            self.was_held_back = False
            self._wait(self._timeout)
        else:
            self._connection.fail(
                CloseCode.INTERNAL_ERROR,
                "keepalive: no pong",
                TimeoutError(f"no pong came within {self._timeout:g} s"),
            )

    def stop(self) -> None:
        """Ping no more."""
        self._timer.cancel()
