"""When to try again: exponential backoff with full jitter."""

from __future__ import annotations

import math
from typing import Any

import attrs


def _seconds(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(
            f"{attribute.name} must be 0 or more and finite, in seconds, not {value!r}"
        )


def _factor(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 1 <= value < math.inf:
        raise ValueError(f"{attribute.name} must be 1 or more and finite, not {value!r}")


def _count(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(f"{attribute.name} must be a whole number from 0, or None, not {value!r}")


@attrs.frozen(kw_only=True)
class Backoff:
    """How long to wait before the next attempt to connect. Times are in seconds.

    The n-th retry in a row comes after a time drawn evenly from 0 to `initial * factor ** (n - 1)`, or
    to `maximum` where that is less ("full jitter"). One client so tries again at once, after 50 ms on
    average; a fleet that loses its server at one moment is spread over `initial` from the first retry
    on. A fleet of n clients whose server opens r connections a second wants `initial` to be n / r.
    """

    initial: float = attrs.field(default=0.1, validator=_seconds)
    """The longest wait before the first retry."""
    factor: float = attrs.field(default=2.0, validator=_factor)
    """How much longer each further one may be."""
    maximum: float = attrs.field(default=10.0, validator=_seconds)
    """The longest of them all."""
    stable_after: float = attrs.field(default=10.0, validator=_seconds)
    """A connection that lasted for this long was a success: the next retry is a first one again."""
    retries: int | None = attrs.field(default=None, validator=_count)
    """In a row, before giving up; None: no limit."""
    longest_hint: float = attrs.field(default=3600.0, validator=_seconds)
    """The most that a server may ask clients to wait, by Retry-After or in its close reason."""

    def bound(self, retry: int) -> float:
        """The longest wait before that retry, the first being 1."""
        try:
            return min(self.maximum, self.initial * self.factor ** (retry - 1))
        except OverflowError:
            return self.maximum

    def delay(self, retry: int, draw: float, hint: float = 0.0) -> float:
        """The wait before that retry.

        `draw` is from 0 to 1, at random. `hint` is the server's: no retry comes before it, and those of
        many clients that were given the same one are spread behind it.
        """
        return min(hint, self.longest_hint) + draw * self.bound(retry)
