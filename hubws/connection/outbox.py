"""The outbox of one connection: its queue, and the way from there to the transport."""

from __future__ import annotations

import os
from typing import Protocol

import trio

from ..protocol.deflate import Deflater
from ..protocol.endpoint import Endpoint, payload_of
from ..protocol.frames import RSV1, Payload
from ..transport.abc import Transport
from ..transport.poller import Poller
from .prepared import Shared
from .queue import LATEST, Droppable, Fragment, SendQueue
from .settings import Settings

PATIENCE = 0.1
"""How long a write to a stream takes at most if the peer reads, in seconds."""


class Owner(Protocol):
    """Whose outbox it is."""

    def on_flushed(self) -> None:
        """Some of what waited has gone; called when the outbox's `tell_flushed` is set."""

    def on_broken(self, error: Exception) -> None:
        """The transport is broken, or took nothing for too long."""


class Outbox(SendQueue):
    """A queue that is flushed once a scheduler turn, straight to the transport.

    Only when the transport would block does a writer task take over. It is nobody's child, so that
    no cancelled sender tears a frame, and it stays for the connection's life: the next block is
    likely.

    Attributes:
        fd: the socket's descriptor, -1 where there is none that could be written to directly.
        is_marked: whether a flush will come this turn.
        is_busy: whether the writer task waits for the transport, and everybody else for the task.
        tell_flushed: whether the owner wants to know.

    """

    __slots__ = (
        "_dirty",
        "_is_stopped",
        "_owner",
        "_parked",
        "_poller",
        "_send",
        "_timeout",
        "_transport",
        "_writing_since",
        "fd",
        "is_busy",
        "is_marked",
        "tell_flushed",
    )

    def __init__(
        self, transport: Transport, poller: Poller, owner: Owner, settings: Settings
    ) -> None:
        super().__init__(settings.outbox_messages, settings.outbox_bytes)
        self._transport = transport
        self._send = transport.send_nowait
        self.fd = transport.fd
        self._poller = poller
        self._dirty = poller.dirty
        self._owner: Owner | None = owner  # until it is stopped: no cycle outlives a connection
        self._timeout = settings.write_timeout
        self._parked: trio.lowlevel.Task | None = None
        self._is_stopped = False
        self._writing_since = 0.0
        self.is_busy = False
        self.is_marked = False
        self.tell_flushed = False

    @property
    def is_stalled(self) -> bool:
        """Whether the peer holds the writer task up.

        A socket has not taken everything, or that task would not be at it. A stream is always written
        by the task, so it takes a moment to tell.
        """
        if self.fd >= 0 or not self.is_busy:
            return self.is_busy
        return trio.current_time() - self._writing_since > PATIENCE

    def put(self, frame: bytes) -> bool:
        """Queue a data frame and see that it goes out; False when there is no room for it."""
        room = self.room - len(frame)
        frames = self.frames
        if room < 0 or len(frames) >= self.limit_messages:
            if not super().put(frame):
                return False
        else:
            self.room = room
            frames.append(frame)
        if not self.is_marked:
            self.is_marked = True
            dirty = self._dirty
            if not dirty:
                self._poller.wake()
            dirty.append(self)
        return True

    def put_fragment(self, frame: Fragment) -> bool:
        """Queue a fragment and see that it goes out; False when there is no room for it."""
        if not super().put_fragment(frame):
            return False
        self.mark()
        return True

    def end_stream(self, last: bytes) -> None:
        """Queue the last fragment, after which other messages go again."""
        super().end_stream(last)
        self.mark()

    def mark(self) -> None:
        """Flush once this turn is over."""
        if not self.is_marked:
            self.is_marked = True
            if not self._dirty:
                self._poller.wake()
            self._dirty.append(self)

    def flush(self) -> None:
        """Offer everything to the transport now (see `transport.poller`)."""
        parts = self.offer()
        try:
            n = self._send(parts) if parts else 0
        except OSError as error:
            self._break(error)
            return
        if not self.took(n):
            self.settle(n)

    def offer(self) -> list[bytes]:
        """What there is to send now, first step of a flush; nothing while the writer task is at it.

        Nothing either for who is not marked: a flush between the turns leaves its mark in the
        poller's list, and what is offered twice in one call would be sent twice.
        """
        is_marked, self.is_marked = self.is_marked, False
        if not is_marked or self.is_busy or self._is_stopped:
            return []
        return self.parts()

    def took(self, n: int) -> bool:
        """Note how much was taken of what was offered, or -errno; returns whether that was all.

        Second step of a flush. Nobody else is told yet, so that what others do in consequence can't
        come between what was offered and what was taken.
        """
        if n < 0 or self.is_busy or self._is_stopped:
            return False
        return self.sent(n) and not self.tell_flushed

    def settle(self, n: int) -> None:
        """Do what follows from that: the last step of a flush, when there is one."""
        if self.is_busy or self._is_stopped:
            return
        if n < 0:
            self._break(OSError(-n, os.strerror(-n)))
            return
        if self.admit():
            self.mark()
        elif self.has_parts:
            self.is_busy = True
            self._writing_since = trio.current_time()
            if self._parked is None:
                trio.lowlevel.spawn_system_task(self._write, name="hubws writer")
            else:
                trio.lowlevel.reschedule(self._parked)
                self._parked = None
        if self.tell_flushed:
            self._tell()

    async def _write(self) -> None:
        while not self._is_stopped:
            if not self.has_parts:
                self.is_busy = False
                await self._park()
                continue
            try:
                with trio.move_on_after(self._timeout) as scope:
                    await self._transport.write(self)
                self._writing_since = trio.current_time()
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection
                self._break(error)
                return
            if scope.cancelled_caught:
                self._break(TimeoutError(f"the peer took nothing for {self._timeout:g} s"))
                return
            self.admit()
            if self.tell_flushed:
                self._tell()

    def _tell(self) -> None:
        if self._owner is not None:
            self._owner.on_flushed()

    def _break(self, error: Exception) -> None:
        if self._owner is not None:
            self._owner.on_broken(error)

    async def _park(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def stop(self) -> None:
        """Write nothing more."""
        self._is_stopped = True
        self._owner = None
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None


class Unframed(bytes):
    """The payload of a message that is compressed, and framed, when the queue takes it.

    Not before, since what is compressed with regard to earlier messages must be sent, and in that
    order: a sender that waits in line may be overtaken, or cancelled.
    """

    opcode: int


def unframed(message: str | Payload) -> Unframed:
    """Make one of a message; TypeError or LocalProtocolError when it can't be one."""
    opcode, payload = payload_of(message)
    frame = Unframed(payload)
    frame.opcode = opcode
    return frame


class AdaptingOutbox(Outbox):
    """The outbox of a connection that doesn't take frames as they come.

    Messages for many are masked by a client, and compressed where that was agreed on; messages of its
    own may be compressed with regard to earlier ones; and where the connection's own policy is
    `latest`, they conflate.
    """

    __slots__ = ("_conflates", "_deflater", "_endpoint")

    def __init__(
        self,
        transport: Transport,
        poller: Poller,
        owner: Owner,
        settings: Settings,
        endpoint: Endpoint,
        deflater: Deflater | None,
    ) -> None:
        super().__init__(transport, poller, owner, settings)
        self._endpoint = endpoint
        self._deflater = deflater
        self._conflates = settings.policy is LATEST

    def put(self, frame: bytes) -> bool:
        """Queue a data frame, or a message; False when there is no room for it."""
        kind = type(frame)
        if kind is Unframed:
            return self._put_message(frame)  # type: ignore[arg-type] # mypy can't see the type
        if kind is Shared:
            frame = self._own_form(frame)  # type: ignore[arg-type]
        may_conflate = self._conflates and self.room >= 0  # below, it is too late for any frame
        if may_conflate and isinstance(frame, Droppable) and frame.policy is LATEST:
            self.conflate(frame.key)
        if not super().put(frame):
            return False
        if kind is Shared and not self.is_streaming:
            self._note_shared(frame)
        return True

    def _note_shared(self, frame: bytes) -> None:
        if frame[0] & RSV1 and self._deflater is not None:
            self._deflater.forget()  # what only the receiver's window has can't be referred to

    def _put_message(self, message: Unframed) -> bool:
        # what has been compressed must be taken; it grows by an eighth at most, and little more
        if not self.has_room(len(message) + len(message) // 8 + 64):
            return False
        if self.is_streaming:  # its fragments come first, and are compressed first
            return super().put(message)
        return super().put(self._endpoint.encode_payload(message.opcode, message))

    def end_stream(self, last: bytes) -> None:
        """Queue the last fragment; only now the messages behind it are compressed."""
        super().end_stream(last)
        for index, frame in enumerate(self.frames):
            if isinstance(frame, Unframed):
                self.frames[index] = self._endpoint.encode_payload(frame.opcode, frame)
            else:
                self._note_shared(frame)
        if self.room >= 0:
            self.room = max(0, self._limit_bytes - sum(map(len, self.frames)))

    def _own_form(self, frame: Shared) -> Droppable:
        message = frame.source
        if self._endpoint.is_client:
            own = self._endpoint.encode(message.message)  # masked, with a key of its own
            return Droppable.make(own, frame.policy, frame.key, message)
        return frame if self._deflater is None else message.compressed(frame, self._deflater)
