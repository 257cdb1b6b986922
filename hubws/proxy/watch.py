"""Times of a proxied connection: how long it may be silent, and how long it may last."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from ..transport.timers import Timer, Timers

LOOKS = 4
"""How often within the time of silence it is seen whether something came."""


class Watch:
    """Ends something that was silent, or has lasted, for too long; costs nothing for what passes.

    `count` says how much has passed so far, in any unit. Times are in seconds, infinite for none.
    """

    __slots__ = (
        "_count",
        "_end",
        "_lifetime",
        "_look",
        "_quiet_since",
        "_seen",
        "_silence",
        "_timers",
    )

    def __init__(
        self,
        timers: Timers,
        count: Callable[[], int],
        end: Callable[[str], None],
        *,
        silence: float,
        lifetime: float,
    ) -> None:
        self._timers = timers
        self._count = count
        self._end = end
        self._silence = math.inf
        self._seen = 0
        self._quiet_since = 0.0
        self._look: Timer | None = None
        self._lifetime: Timer | None = None
        if lifetime < math.inf:
            self._lifetime = timers.call_later(lifetime, self._lifetime_over)
        self.allow_silence(silence)

    def allow_silence(self, seconds: float) -> None:
        """From now on, allow that much silence, if it is less than before."""
        if seconds < self._silence:
            self._silence = seconds
            self._seen = self._count()
            self._quiet_since = trio.current_time()
            self._look_later()

    def stop(self) -> None:
        """It has ended."""
        for timer in (self._look, self._lifetime):
            if timer is not None:
                timer.cancel()

    def _look_later(self) -> None:
        if self._look is not None:
            self._look.cancel()
        self._look = self._timers.call_later(self._silence / LOOKS, self._look_now)

    def _look_now(self) -> None:
        count, now = self._count(), trio.current_time()
        if count != self._seen:
            self._seen, self._quiet_since = count, now
        if now - self._quiet_since >= self._silence:
            self._end(f"idle for {self._silence:g} s")
        else:
            self._look_later()

    def _lifetime_over(self) -> None:
        self._end("lifetime")
