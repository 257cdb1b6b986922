"""Messages that wait for a connection, in the order in which they go, and what gives way."""

from __future__ import annotations

import sys
from typing import Any

import attrs

from ..connection.queue import Droppable, Policy, Put, SendQueue
from ..protocol.codec import encode_message
from ..protocol.frames import Payload, surrogate_error


def _count(_: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if type(value) is not int or not 0 < value <= sys.maxsize:
        raise ValueError(
            f"{attribute.name} must be a whole number from 1 to {sys.maxsize}, not {value!r}"
        )


def _policy(value: Policy | str) -> Policy:
    try:
        return Policy(value)
    except ValueError:
        names = ", ".join(Policy)
        raise ValueError(f"{value!r} is not a policy; it must be one of {names}") from None


@attrs.frozen(kw_only=True)
class Offline:
    """How many messages wait while there is no connection, and what gives way at either bound."""

    messages: int = attrs.field(default=1024, validator=_count)
    bytes: int = attrs.field(default=1024 * 1024, validator=_count)
    """As they will be on the wire, uncompressed."""
    policy: Policy = attrs.field(default=Policy.BLOCK, converter=_policy)
    """As for an outbox: `block`, `drop_oldest`, `drop_newest`, `latest` (only the newest message
    waits), or `disconnect`, which gives the client up."""


class OfflineQueue(SendQueue):
    """What waits for a connection: an outbox without one, whose policy is that of `Offline`."""

    __slots__ = ("_policy",)

    def __init__(self, bounds: Offline) -> None:
        super().__init__(bounds.messages, bounds.bytes)
        self._policy = bounds.policy

    def __len__(self) -> int:
        return len(self.frames)

    def offer(self, message: str | Payload) -> bool:
        """Queue a message by the policy; False when its sender has to wait.

        Raises OverflowError for one that finds no room under `disconnect`, TypeError for what is no
        message and LocalProtocolError for text with lone surrogates.
        """
        frame = self._frame(message)
        if self._policy is Policy.BLOCK:
            return not self.has_waiting and self.put(frame)
        if self.put_droppable(frame) is Put.FULL:
            raise OverflowError(self.fullness)
        return True

    async def wait_offer(self, message: str | Payload) -> None:
        """Wait in line until the message is queued, after `offer` said so."""
        await self.wait_put(self._frame(message))

    @property
    def fullness(self) -> str:
        """In words, for an error."""
        return f"{len(self)} messages of {self.queued_bytes} bytes in all wait for a connection already"

    def _frame(self, message: str | Payload) -> Droppable:
        if not isinstance(message, str | bytes):
            message = bytes(memoryview(message))  # it may be changed before it is sent
        try:
            frame = encode_message(message)
        except UnicodeEncodeError as error:
            raise surrogate_error(error, "a text message") from None
        return Droppable.make(frame, self._policy, source=message)

    def pop(self) -> Droppable:
        """Take the first one, and let those in line in for it."""
        frame = self.frames[0]
        assert isinstance(frame, Droppable)
        self._remove(0)
        self.admit()
        return frame

    def put_back(self, frame: Droppable) -> None:
        """It could not be sent after all: it is the first again, unless a newer one replaced it."""
        if self._policy is Policy.LATEST and self.frames:
            self._count().conflated += 1
            return
        self.frames.insert(0, frame)
        self.room -= len(frame)
