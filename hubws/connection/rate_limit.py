"""How much a peer may send in a time: the setting, and the token buckets that judge by it."""

from __future__ import annotations

import math
from typing import Any

import attrs

POLICIES = ("pause", "drop", "close")


class TokenBucket:
    """Fills at `rate` tokens a second up to `rate * burst`, and is full at first.

    It knows no clock: whoever asks says what time it is, in seconds.
    """

    __slots__ = ("_rate", "_size", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._size = self._tokens = rate * burst
        self._when = now

    def tokens(self, now: float) -> float:
        """How many there are; below 0 is debt."""
        if now > self._when:
            self._tokens = min(self._size, self._tokens + (now - self._when) * self._rate)
            self._when = now
        return self._tokens

    def take(self, count: int, now: float) -> int:
        """Take that many, or as many whole ones as there are; returns how many were taken."""
        taken = max(0, min(count, int(self.tokens(now))))
        self._tokens -= taken
        return taken

    def charge(self, count: int, now: float) -> float:
        """Take that many even if they aren't there; returns in how many seconds the debt is paid."""
        self._tokens = self.tokens(now) - count
        return max(0.0, -self._tokens / self._rate)


def _rate(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise ValueError(
            f"{attribute.name} of a RateLimit must be over 0 and finite, or None, not {value!r}"
        )


@attrs.frozen(kw_only=True)
class RateLimit:
    """What a peer may send in a second, and what happens to a peer that sends more."""

    messages: float | None = attrs.field(default=None, validator=_rate)
    """In a second; None for any number."""
    bytes: float | None = attrs.field(default=None, validator=_rate)
    """In a second, as they come on the wire, control frames included; None for any number."""
    burst: float = 1.0
    """How many seconds' worth may come at once from a peer that was quiet before."""
    policy: str = "pause"
    """`pause`: the socket is not read until the rate is kept; `drop`: messages over the limit are
    thrown away and counted; `close`: the connection is closed with 1008."""

    def __attrs_post_init__(self) -> None:
        if self.messages is None and self.bytes is None:
            raise ValueError("a RateLimit needs messages or bytes, in a second")
        if not 0 < self.burst < math.inf:
            raise ValueError(
                f"burst of a RateLimit must be over 0 and finite, in seconds, not {self.burst!r}"
            )
        for name in ("messages", "bytes"):
            rate = getattr(self, name)
            if rate is not None and rate * self.burst < 1:
                raise ValueError(
                    f"{rate!r} {name} a second in bursts of {self.burst!r} seconds would never "
                    "let one in: the product must be 1 or more"
                )
        if self.policy not in POLICIES:
            raise ValueError(
                f"{self.policy!r} is not a policy of a RateLimit; it must be one of "
                f"{', '.join(POLICIES)}"
            )

    def __str__(self) -> str:
        rates = [(self.messages, "messages"), (self.bytes, "bytes")]
        return " and ".join(f"{rate:g} {what}" for rate, what in rates if rate) + " a second"
