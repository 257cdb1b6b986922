"""The last messages of a topic, so that a client that comes back gets exactly what it missed.

Every message of a topic has a position: the history's epoch and an offset that counts from 1. What
is kept has no holes, so a position is answered in full, or with `PositionLost`.
"""

from __future__ import annotations

import math
import re
import reprlib
import secrets
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import attrs

from ..errors import HubwsError
from ..protocol.frames import Payload, surrogate_error

Message: TypeAlias = str | bytes

MAX_OFFSET = 2**53 - 1
"""The largest offset: the largest whole number that JavaScript reads from JSON exactly."""

EPOCH = re.compile(r"[A-Za-z0-9_-]{1,64}")
POSITION = re.compile(rf"({EPOCH.pattern}):(0|[1-9][0-9]{{0,15}})")


def size_of(text: str) -> int:
    """The length of a text in bytes of UTF-8; LocalProtocolError (a ValueError) if it has none."""
    try:
        return len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise surrogate_error(error, "a text message") from None


def _check_epoch(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str) or EPOCH.fullmatch(value) is None:
        raise ValueError(f"an epoch is 1 to 64 of A-Z a-z 0-9 _ -, not {reprlib.repr(value)}")


def _check_offset(_: object, __: object, value: Any) -> None:
    if type(value) is not int or not 0 <= value <= MAX_OFFSET:
        raise ValueError(f"an offset is 0 to {MAX_OFFSET}, not {reprlib.repr(value)}")


@attrs.frozen
class Position:
    """A place in a topic's history: that of a message, or with offset 0 before the first."""

    epoch: str = attrs.field(validator=_check_epoch)
    """Chosen when the history was made; 1 to 64 letters, digits, `_` and `-`."""
    offset: int = attrs.field(validator=_check_offset)
    """Of the first message 1, of each further one 1 more."""

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: object) -> Position:
        """Read back what `str` gives; ValueError for anything else, whatever its type."""
        match = POSITION.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"a position is written epoch:offset, not {reprlib.repr(text)}")
        return cls(match[1], int(match[2]))


class PositionLost(HubwsError):
    """It can't be told without a gap what came after a position: read the whole state anew.

    Attributes: `position` is the one asked for, `oldest` the first that could have been answered,
    and `newest` that of the newest message.
    """

    def __init__(self, position: Position, oldest: Position, newest: Position) -> None:
        if position.epoch != newest.epoch:
            why = f"the history began anew; what it knows now is {oldest} to {newest}"
        elif position.offset > newest.offset:
            why = f"it is ahead of the newest message, {newest}"
        else:
            why = f"messages after it have been thrown out, up to {oldest}"
        super().__init__(f"the position {position} is lost: {why}")
        self.position = position
        self.oldest = oldest
        self.newest = newest


def _check_count(_: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{attribute.name} must be a whole number of at least 1, not {value!r}")


def _seconds(value: float | None) -> float:
    return math.inf if value is None else value


def _check_seconds(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be over 0, not {value!r}")


@attrs.frozen
class Retention:
    """How much of a topic a history keeps: what is beyond any of the three bounds is thrown out."""

    messages: int = attrs.field(default=1000, validator=_check_count)
    """How many are kept."""
    seconds: float = attrs.field(default=None, converter=_seconds, validator=_check_seconds)
    """The oldest a message gets, in seconds; None: any age."""
    bytes: int = attrs.field(default=1024 * 1024, validator=_check_count)
    """Of payload, text in UTF-8. A larger message is numbered but not kept."""


@attrs.frozen
class HistoryStatistics:
    """Figures of one history at one moment."""

    messages: int
    """Kept now."""
    bytes: int
    """Kept now, of payload."""
    oldest: Position
    """The first position that `since` answers."""
    newest: Position
    """That of the last message."""
    thrown_out: int
    """Messages no longer kept, those included that were too large to be."""
    recovered: int
    """Calls of `since` that were answered."""
    lost: int
    """Calls of `since` that raised PositionLost."""


class _Kept(NamedTuple):
    position: Position
    message: Message
    size: int
    at: float


class History:
    """The last messages of one topic. Synchronous; an append costs O(1), an answer its own length.

    Forgetting a history and making a new one is always safe: the new one has another epoch, so that
    every position of the old one is lost, not mistaken.

    Args:
        retention: how much is kept.
        now: a monotonic clock in seconds, such as `trio.current_time`.
        epoch: by default a random one.
        offset: of the last message before it, when it goes on with what is kept elsewhere.

    """

    __slots__ = (
        "_bytes", "_epoch", "_kept", "_lost", "_now", "_offset", "_recovered", "retention",
    )  # fmt: skip

    def __init__(
        self,
        retention: Retention,
        now: Callable[[], float],
        epoch: str | None = None,
        offset: int = 0,
    ) -> None:
        self.retention = retention
        self._now = now
        begin = Position(secrets.token_urlsafe(8) if epoch is None else epoch, offset)
        self._epoch, self._offset = begin.epoch, begin.offset
        self._kept: deque[_Kept] = deque()  # the last has self._offset, and there is no hole
        self._bytes = self._recovered = self._lost = 0

    @property
    def position(self) -> Position:
        """Of the newest message; offset 0 before the first."""
        return Position(self._epoch, self._offset)

    @property
    def next_position(self) -> Position:
        """What the next `append` returns: for what has to be made, and may fail, before it."""
        return Position(self._epoch, self._offset + 1)

    def append(self, message: str | Payload) -> Position:
        """Number a message and keep it; bytes-like ones are copied.

        TypeError for what is no message, LocalProtocolError for text with lone surrogates; neither
        takes a number.
        """
        if isinstance(message, str):
            size = size_of(message)
        else:
            message = bytes(memoryview(message))
            size = len(message)
        position = self.next_position
        self._offset = position.offset
        self._kept.append(_Kept(position, message, size, self._now()))
        self._bytes += size
        # One that is too large by itself goes too, after all those before it: no hole.
        while len(self._kept) > self.retention.messages or self._bytes > self.retention.bytes:
            self._throw_out()
        self.expire()
        return position

    def since(self, position: Position) -> list[tuple[Position, Message]]:
        """Everything after a position, oldest first; raises PositionLost if that isn't all there."""
        self.expire()
        missed = self._offset - position.offset
        if position.epoch != self._epoch or not 0 <= missed <= len(self._kept):
            self._lost += 1
            raise PositionLost(position, self._oldest, self.position)
        self._recovered += 1
        return self._last(missed)

    def recent(self, count: int) -> list[tuple[Position, Message]]:
        """The last so many messages that are kept, oldest first; ValueError for fewer than none."""
        if count < 0:
            raise ValueError(f"there are no {count} messages")
        self.expire()
        return self._last(min(count, len(self._kept)))

    def _last(self, count: int) -> list[tuple[Position, Message]]:
        newest_first = islice(reversed(self._kept), count)
        answer = [(kept.position, kept.message) for kept in newest_first]
        answer.reverse()
        return answer

    def expire(self) -> None:
        """Throw out what is too old; every method does, so this only frees memory sooner."""
        if self._kept and self.retention.seconds < math.inf:
            oldest = self._now() - self.retention.seconds
            while self._kept and self._kept[0].at < oldest:
                self._throw_out()

    def _throw_out(self) -> None:
        self._bytes -= self._kept.popleft().size

    @property
    def _oldest(self) -> Position:
        return Position(self._epoch, self._offset - len(self._kept))

    def __len__(self) -> int:
        self.expire()
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Of payload that is kept."""
        self.expire()
        return self._bytes

    def statistics(self) -> HistoryStatistics:
        """Figures at this moment."""
        return HistoryStatistics(
            messages=len(self),
            bytes=self._bytes,
            oldest=self._oldest,
            newest=self.position,
            thrown_out=self._offset - len(self._kept),
            recovered=self._recovered,
            lost=self._lost,
        )
