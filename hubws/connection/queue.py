"""What waits to be sent on one connection, in the order in which it will go, and what gives way.

    the rest of a frame begun → control frames → the message being streamed → data frames

A frame that has begun is finished before anything else; control frames pass ahead of queued data,
between frames, and so they do ahead of other messages while one is sent in fragments (RFC 6455
§5.4). Data is bounded in messages and in bytes; at the bound a policy says what gives way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum, StrEnum
from typing import Any, Self

import attrs
import outcome
import trio

from ..protocol.frames import Payload

URGENT = 1024
"""The most control frames that wait in one outbox."""

PIECE = 256 * 1024
"""A frame that the socket took in part is kept in pieces of this size, in bytes."""


class Policy(StrEnum):
    """What happens when an outbox is full."""

    BLOCK = "block"
    """`send` waits, `send_nowait` raises trio.WouldBlock; a broadcast leaves the message out."""
    DROP_OLDEST = "drop_oldest"
    """The oldest queued message of this policy, or of `latest`, makes room."""
    DROP_NEWEST = "drop_newest"
    """The message that found no room is dropped."""
    LATEST = "latest"
    """Only the newest message of each key is kept (conflation), always; then as drop_oldest."""
    DISCONNECT = "disconnect"
    """The connection is closed with 1013 "slow consumer"."""


class Put(Enum):
    """What became of a message that was put into an outbox."""

    QUEUED = "queued"
    """It will be sent."""
    DROPPED = "dropped"
    """It was left out."""
    FULL = "full"
    """There is no room and it is up to the caller: to wait, to raise, to disconnect."""
    DISCONNECTED = "disconnected"
    """There was no room and the connection was closed for it."""
    CLOSED = "closed"
    """The connection was ending already."""


# Members of an Enum are slow to look up (some 50 ns each) where messages go by.
BLOCK, DISCONNECT, LATEST = Policy.BLOCK, Policy.DISCONNECT, Policy.LATEST
DROP_NEWEST, DROP_OLDEST = Policy.DROP_NEWEST, Policy.DROP_OLDEST
QUEUED, DROPPED, FULL = Put.QUEUED, Put.DROPPED, Put.FULL


class Droppable(bytes):
    """A frame that its policy may drop before it is sent; made once, shared by all who get it."""

    policy: Policy
    key: Hashable
    source: Any
    """What it was made of, for whoever wants to know what was dropped."""

    @classmethod
    def make(cls, frame: bytes, policy: Policy, key: Hashable = None, source: Any = None) -> Self:
        """Mark a frame with its policy and, for `latest`, its key."""
        droppable = cls(frame)
        droppable.policy = policy
        droppable.key = key
        droppable.source = source
        return droppable


def droppable(
    encode: Callable[[str | Payload], bytes], policy: Policy
) -> Callable[[str | Payload], Droppable]:
    """An encoder whose frames may be dropped by that policy."""

    def encode_droppable(message: str | Payload) -> Droppable:
        return Droppable.make(encode(message), policy)

    return encode_droppable


class Fragment(bytes):
    """A frame of a message that is sent in fragments, but for the last one."""


STREAM = type("Stream", (bytes,), {})()
"""Stands in line for a message that is to be sent in fragments, until that may begin."""


@attrs.define
class StreamedMessage:
    """A message that is sent in fragments, and what has to go before it.

    Attributes:
        frames: what waits of it, and what was queued before it.
        is_complete: whether its last fragment is among these.

    """

    frames: list[bytes]
    is_complete: bool = False

    def has_room(self, size: int, limit: int) -> bool:
        """Whether its fragments that wait would not be over a limit, in bytes; or it has none."""
        own = sum(len(frame) for frame in self.frames if type(frame) is Fragment)
        return not own or own + size <= limit

    def count(self) -> int:
        """Messages of which something is still to go."""
        whole = sum(type(frame) is not Fragment for frame in self.frames)
        return whole if self.is_complete else whole + 1


@attrs.define
class DropCounters:
    """What a queue did with its messages since the connection opened."""

    dropped: int = 0
    """Left out, or thrown out to make room, by `drop_oldest`, `drop_newest` or `block`."""
    conflated: int = 0
    """Replaced by a newer one of the same key."""


class SendQueue:
    """What waits on one connection, without the way it goes.

    Attributes:
        room: bytes that data frames may still take; below zero once nothing more is taken.
        frames: data frames none of whose bytes have gone.

    """

    __slots__ = (
        "_begun",
        "_begun_is_data",
        "_in_flight",
        "_last",
        "_limit_bytes",
        "_streamed",
        "_urgent",
        "_waiting",
        "bytes_sent",
        "counters",
        "frames",
        "limit_messages",
        "messages_sent",
        "room",
    )

    def __init__(self, limit_messages: int, limit_bytes: int) -> None:
        self.limit_messages = limit_messages
        self._limit_bytes = limit_bytes
        self._begun: list[bytes] = []
        self._begun_is_data = False
        self._in_flight = 0  # data frames the last byte of which was taken, and has not gone
        self._last: bytes | None = None
        self._urgent: list[bytes] = []
        self._streamed: StreamedMessage | None = None
        self._waiting: dict[trio.lowlevel.Task, bytes] | None = None
        self.frames: list[bytes] = []
        self.room = limit_bytes
        self.bytes_sent = 0
        self.messages_sent = 0
        self.counters: DropCounters | None = None

    @property
    def queued_bytes(self) -> int:
        """Bytes of every kind that have not gone yet."""
        if self.is_empty:
            return 0
        held = self.frames if self.is_streaming else ()
        return sum(map(len, self.parts())) + sum(map(len, held))

    @property
    def queued_messages(self) -> int:
        """Data frames of which nothing has gone yet, beside a message that is streamed."""
        return len(self.frames)

    @property
    def is_streaming(self) -> bool:
        """Whether a message sent in fragments holds the others up."""
        return self._streamed is not None and not self._streamed.is_complete

    @property
    def is_empty(self) -> bool:
        """Whether everything has gone, a message that is streamed included."""
        return not (self.frames or self._urgent or self._begun or self._streamed)

    @property
    def has_urgent(self) -> bool:
        """Whether control frames are waiting."""
        return bool(self._urgent)

    @property
    def urgent(self) -> list[bytes]:
        """Control frames that wait. Not to be changed."""
        return self._urgent

    @property
    def urgent_frames(self) -> int:
        """How many control frames are waiting."""
        return len(self._urgent)

    @property
    def has_parts(self) -> bool:
        """Whether anything may go now."""
        if self._streamed is not None:
            return bool(self.parts())
        return bool(self.frames or self._urgent or self._begun)

    def parts(self) -> list[bytes]:
        """All that may go now, in the order in which it will. Not to be changed."""
        streamed = self._streamed
        if streamed is not None:
            frames = self.frames if streamed.is_complete else ()
            return [*self._begun, *self._urgent, *streamed.frames, *frames]
        if self._begun or self._urgent:
            return [*self._begun, *self._urgent, *self.frames]
        return self.frames

    # -- putting -------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether a data frame of that many bytes, or a smaller one, would be taken."""
        if size <= self.room and len(self.frames) < self.limit_messages:
            return True
        return not self.frames and not self._begun and self.room >= 0

    def put(self, frame: bytes) -> bool:
        """Queue a data frame; False when there is no room for it.

        A frame larger than the byte limit is taken alone, when nothing else is queued.
        """
        frames = self.frames
        room = self.room - len(frame)
        if room < 0 or len(frames) >= self.limit_messages:
            if frames or self._begun or self.room < 0:
                return False
            room = 0
        self.room = room
        frames.append(frame)
        return True

    def put_droppable(self, frame: Droppable, thrown_out: list[Droppable] | None = None) -> Put:
        """Queue a frame by its own policy, which drops at the bound rather than wait.

        What had to make room for it is added to `thrown_out`.
        """
        policy = frame.policy
        if policy is LATEST:
            self.conflate(frame.key)
        if self.put(frame):
            return QUEUED
        if policy is DISCONNECT:
            return FULL
        if policy is not DROP_NEWEST:
            while (oldest := self._drop_oldest()) is not None:
                if thrown_out is not None:
                    thrown_out.append(oldest)
                if self.put(frame):
                    return QUEUED
        self._count().dropped += 1
        return DROPPED

    def conflate(self, key: Hashable) -> None:
        """Throw out the queued frame of policy `latest` with that key, if there is one."""
        for index, other in enumerate(self.frames):
            if isinstance(other, Droppable) and other.policy is LATEST and other.key == key:
                self._remove(index)
                self._count().conflated += 1
                return

    def _drop_oldest(self) -> Droppable | None:
        """Throw out the oldest frame whose own policy allows it; None when there is none."""
        for index, other in enumerate(self.frames):
            if isinstance(other, Droppable) and other.policy in (DROP_OLDEST, LATEST):
                self._remove(index)
                self._count().dropped += 1
                return other
        return None

    def _remove(self, index: int) -> None:
        self.room = min(self.room + len(self.frames.pop(index)), self._limit_bytes)
        if not self.frames:
            self.room = self._limit_bytes

    def _count(self) -> DropCounters:
        if self.counters is None:
            self.counters = DropCounters()
        return self.counters

    def put_urgent(self, frame: bytes) -> bool:
        """Queue a control frame ahead of all data; False when too many wait already."""
        if len(self._urgent) >= URGENT:
            return False
        self._urgent.append(frame)
        return True

    def replace_urgent(self, old: bytes, new: bytes) -> bool:
        """Put a control frame in the place of one that still waits; False when it does not."""
        if self._urgent and self._urgent[-1] is old:
            self._urgent[-1] = new  # where it stands in a flood; a search costs 15 us each
            return True
        if old in self._urgent:
            self._urgent[self._urgent.index(old)] = new
            return True
        return False

    def finish(self, last: bytes) -> None:
        """Queue the very last frame behind all data, after which nothing more is taken."""
        self._last = last
        self.frames.append(last)
        self.room = -1

    def _count_data(self) -> int:
        """Data frames of which something is still here."""
        count = len(self.frames)
        if self.frames and self.frames[-1] is self._last:
            count -= 1
        if self._streamed is not None:
            count += self._streamed.count()
        return count + (1 if self._begun and self._begun_is_data else 0)

    def discard(self) -> int:
        """Throw away what has not begun, take no more data; returns how many messages it was."""
        count = self._count_data() - (1 if self._begun and self._begun_is_data else 0)
        self._streamed = None
        self.frames.clear()
        # While nothing at all has gone, the first of these answers the opening handshake.
        del self._urgent[0 if self.bytes_sent else 1 :]
        self.room = -1
        return count

    def discard_all(self) -> int:
        """Throw away what has begun too; returns how many data frames did not go entirely."""
        if self.is_empty and not self._in_flight:
            self.room = -1
            return 0
        count = self._count_data() + self._in_flight
        self.discard()
        self._urgent.clear()
        self._begun.clear()
        self._in_flight = 0
        return count

    async def wait_put(self, frame: bytes) -> None:
        """Wait in line until the frame is queued; a fragment first. Cancelled, it is not queued.

        Whoever ends the connection wakes the line with `fail_waiting`.
        """
        task = trio.lowlevel.current_task()
        if self._waiting is None:
            self._waiting = {}
        waiting = self._waiting
        others = waiting.copy() if type(frame) is Fragment else {}
        for other in others:
            del waiting[other]
        waiting[task] = frame
        waiting.update(others)

        def abort(_: object) -> trio.lowlevel.Abort:
            waiting.pop(task, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @property
    def has_waiting(self) -> bool:
        """Whether senders stand in line."""
        return bool(self._waiting)

    def fail_waiting(self, make_error: Callable[[], Exception]) -> None:
        """Wake those in line with an error: their frames were not queued.

        A message that has begun to go in fragments may be finished, though.
        """
        waiting = self._waiting
        if not waiting:
            return
        for task, frame in list(waiting.items()):
            if not (self.is_streaming and type(frame) is Fragment):
                del waiting[task]
                trio.lowlevel.reschedule(task, outcome.Error(make_error()))

    # -- a message in fragments ----------------------------------------------------------------

    def begin_stream(self) -> bool:
        """Let the next message go in fragments; False while there is no room for a message.

        What is queued goes before it, what is queued later behind it.
        """
        if self._streamed is not None or not self.has_room(1):
            return False
        self._streamed = StreamedMessage(self.frames)
        self.frames = []
        self.room = self._limit_bytes
        return True

    def put_fragment(self, frame: Fragment) -> bool:
        """Queue a fragment; False when there is no room for it."""
        assert self._streamed is not None
        if not self._streamed.has_room(len(frame), self._limit_bytes):
            return False
        self._streamed.frames.append(frame)
        return True

    def end_stream(self, last: bytes) -> None:
        """Queue the last fragment, after which other messages go again."""
        assert self._streamed is not None
        self._streamed.frames.append(last)
        self._streamed.is_complete = True

    def tear_stream(self) -> int:
        """Give up an incomplete message and all data; returns how many messages it was."""
        count = self.discard()
        if self._last is not None:
            self.frames.append(self._last)
        return count

    # -- sending -------------------------------------------------------------------------------

    def sent(self, n: int) -> bool:
        """Note that n bytes of `parts` have gone; returns whether nothing at all is left to do."""
        if n == self._limit_bytes - self.room and not (
            self._begun or self._urgent or self._streamed
        ):
            # the usual case: everything, and it was nothing but data
            self.messages_sent += len(self.frames)
            self.frames.clear()
            self.room = self._limit_bytes
            self.bytes_sent += n
        else:
            self._sent(n)
            if self.has_parts:
                return False
        return not self._waiting

    def take(self, size: int) -> bytes:
        """Take up to that many bytes off the front: whoever has them sends them, and says `gone`."""
        chunk = bytearray()
        for part in self.parts():
            chunk += part[: size - len(chunk)]
            if len(chunk) == size:
                break
        before = self.messages_sent
        self._sent(len(chunk))
        self._in_flight = self.messages_sent - before
        return bytes(chunk)

    def gone(self) -> None:
        """Note that what was taken has gone."""
        self._in_flight = 0

    def _sent(self, n: int) -> None:
        """Take n bytes off the front: they have gone."""
        self.bytes_sent += n
        if self.frames or self._begun or self._streamed:
            before = self._count_data()
            self._take_off(n)
            self.messages_sent += before - self._count_data()
        else:
            self._take(self._urgent, n)

    def _take_off(self, n: int) -> None:
        n = self._take(self._begun, n)
        n = self._take(self._urgent, n)
        if self._streamed is not None:
            n = self._take(self._streamed.frames, n)
            if not self._streamed.is_complete:
                return
            if not self._streamed.frames:
                self._streamed = None
        if not self.frames:
            return
        before = sum(map(len, self.frames))
        self._take(self.frames, n)
        if self.room >= 0:
            freed = before - sum(map(len, self.frames))
            self.room = (
                min(self.room + freed, self._limit_bytes) if self.frames else self._limit_bytes
            )

    def _take(self, parts: list[bytes], n: int) -> int:
        count = 0
        for part in parts:
            if n < len(part):
                break
            n -= len(part)
            count += 1
        if n and count < len(parts):
            part = parts[count]
            rest = [part[at : at + PIECE] for at in range(n, len(part), PIECE)]
            n = 0
            count += 1
            if parts is self._begun:
                parts[:count] = rest
                return 0
            self._begun = rest
            self._begun_is_data = not (
                parts is self._urgent or part is self._last or type(part) is Fragment
            )
        del parts[:count]
        return n

    def admit(self) -> bool:
        """Let those in line queue what there is room for; returns whether anyone did."""
        waiting = self._waiting
        admitted = False
        while waiting:
            task, frame = next(iter(waiting.items()))
            if not self._admit(frame):
                break
            del waiting[task]
            trio.lowlevel.reschedule(task)
            admitted = True
        return admitted

    def _admit(self, frame: bytes) -> bool:
        if frame is STREAM:
            return self.begin_stream()
        return self.put_fragment(frame) if isinstance(frame, Fragment) else self.put(frame)
