"""The transparent mode: what one side sends goes to the other as it is, whatever it means.

    client → Flow → backend
    client ← Flow ← backend

There is no task for it: each flow is the receiver of one transport and writes to the other at once.
Only while a side takes no more a task waits for it, and what the other side sends meanwhile is held, up
to a bound, beyond which that side is not read, so that TCP holds it back.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import trio

from ..connection.settings import Settings
from ..protocol.http import Request
from ..protocol.state import Closure
from ..transport.abc import Payload, SocketAddress, Transport
from ..transport.poller import Poller
from ..transport.timers import Timer
from .watch import Watch

logger = logging.getLogger("hubws")

HELD = 64 * 1024
"""With that much on its way to a side that takes no more, the other side is not read, in bytes. What
one read brings, up to 256 KiB, comes on top."""

LINGER = 1.0
"""How long a side is still read whose other side is gone, so that it gets what was sent to it before
and closes by itself, in seconds."""


class Flow:
    """One direction: the receiver of its source, and what its sink's writer writes.

    Attributes:
        moved: bytes taken from the source so far.
        is_done: whether the source has ended and the sink has all of it, or can't be given it.

    """

    __slots__ = (
        "_has_ended",
        "_held",
        "_held_size",
        "_is_writing",
        "_parked",
        "_relay",
        "_sink",
        "_source",
        "is_done",
        "is_dropping",
        "moved",
    )

    def __init__(self, relay: Relay, source: Transport, sink: Transport) -> None:
        self._relay = relay
        self._source = source
        self._sink = sink
        self._held: list[bytes] = []  # what the sink has not taken yet
        self._held_size = 0
        self._is_writing = False  # whether a task waits for the sink
        self._parked: trio.lowlevel.Task | None = None
        self._has_ended = False
        self.is_dropping = False  # what comes, for the sink is gone
        self.is_done = False
        self.moved = 0

    # -- receiving (transport.abc.Receiver) ----------------------------------------------------

    def on_bytes(self, buffer: Payload, end: int) -> None:
        """Give to the sink what the source has sent."""
        if self.is_dropping:
            return
        self.moved += end
        data = buffer if type(buffer) is bytes else bytes(memoryview(buffer)[:end])
        if not self._is_writing:
            try:
                taken = self._sink.send_nowait([data])
            except OSError:
                self._lose()
                return
            if taken == end:
                return
            data = data[taken:]
        self._hold(data)

    def on_end(self, error: Exception | None) -> None:
        """The source has no more: tell the sink when it has everything."""
        self._has_ended = True
        if error is not None:
            remote = self._relay.remote
            logger.debug(
                "a side of a proxied connection broke: %s", error, extra={"remote": remote}
            )
            self._relay.other(self).drop()
        if not self._is_writing:
            self._finish()

    def stop(self) -> None:
        """Take no more from the source, but send what is held."""
        if not self._has_ended:
            self._source.pause()
            self.on_end(None)

    def drop(self) -> None:
        """From now on, throw away what comes: nobody is there to take it."""
        self.is_dropping = True
        self._held.clear()
        self._held_size = 0
        self._resume()

    def _lose(self) -> None:
        self.drop()
        self._relay.limit_silence()

    def _resume(self) -> None:
        if not self._has_ended:
            self._source.resume()

    def _finish(self) -> None:
        if not self.is_done:
            self.is_done = True
            self._relay.finished(self, can_tell=self.is_dropping or self._sink.end_output())

    # -- sending (transport.abc.Source) --------------------------------------------------------

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size >= HELD:
            self._source.pause()
        if not self._is_writing:
            self._is_writing = True
            if self._parked is None:
                trio.lowlevel.spawn_system_task(self._write, name="hubws relay")
            else:
                self._unpark()

    async def _write(self) -> None:
        relay = self._relay
        while not relay.is_over:
            if not self._held:
                self._is_writing = False
                if self._has_ended:
                    self._finish()
                    return
                await self._park()
                continue
            try:
                with trio.move_on_after(relay.write_timeout) as scope:
                    await self._sink.write(self)
            except Exception:  # noqa: BLE001 - whatever it is, the sink is gone
                if not relay.is_over:
                    self._lose()
                continue
            if scope.cancelled_caught:
                relay.end(f"a side took nothing for {relay.write_timeout:g} s")
            elif self._held_size < HELD:
                self._resume()

    async def _park(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _unpark(self) -> None:
        assert self._parked is not None
        trio.lowlevel.reschedule(self._parked)
        self._parked = None

    def wake(self) -> None:
        """The relay has ended: have the writer see it."""
        if self._parked is not None:
            self._unpark()

    def parts(self) -> list[bytes]:
        return self._held

    def sent(self, n: int) -> bool:
        held = self._held
        self._held_size -= n
        count = 0
        for part in held:
            if n < len(part):
                break
            n -= len(part)
            count += 1
        del held[:count]
        if n:
            held[0] = held[0][n:]
        return not held

    def take(self, size: int) -> bytes:
        chunk = b"".join(self._held)[:size]
        self.sent(len(chunk))
        return chunk

    def gone(self) -> None:
        """Nothing depends on it."""


class Relay:
    """A client and its backend, joined until both sides have ended; a server's `Tunnel`.

    Attributes:
        remote: the client's address.
        request: the client's, for an access log.
        user: what `authenticate` returned.
        write_timeout: how long a side may take nothing, in seconds.
        is_over: whether it has ended.

    """

    __slots__ = (
        "_backend",
        "_client",
        "_close_timeout",
        "_end_callbacks",
        "_flows",
        "_greeting",
        "_linger",
        "_poller",
        "_watch",
        "is_over",
        "remote",
        "request",
        "user",
        "write_timeout",
    )  # fmt: skip

    closure: Closure | None = None
    """Not known: nobody looks for close frames."""

    def __init__(
        self,
        client: Transport,
        backend: Transport,
        poller: Poller,
        settings: Settings,
        greeting: bytes,
        request: Request,
        user: Any,
    ) -> None:
        self.remote: SocketAddress = client.remote
        self.request: Request | None = request
        self.user = user
        self.write_timeout = settings.write_timeout
        self.is_over = False
        self._client = client
        self._backend = backend
        self._poller = poller
        self._close_timeout = settings.close_timeout
        self._greeting = greeting  # what goes to the client first
        self._flows: tuple[Flow, ...] = (Flow(self, client, backend), Flow(self, backend, client))
        self._linger: Timer | None = None
        self._end_callbacks: list[Callable[[Any], object]] = []
        self._watch: Watch | None = None
        if settings.idle_timeout < math.inf or settings.max_lifetime < math.inf:
            self._watch = self._new_watch(settings.idle_timeout, settings.max_lifetime)

    def begin(self, rest: bytes) -> None:
        """Answer the client, and begin to move bytes both ways; `rest` is the client's first."""
        up, down = self._flows
        down.on_bytes(self._greeting, len(self._greeting))
        self._greeting = b""
        if rest:
            up.on_bytes(rest, len(rest))
        for transport, flow in ((self._client, up), (self._backend, down)):
            transport.receiver = flow
            transport.start()

    def other(self, flow: Flow) -> Flow:
        """The other direction."""
        up, down = self._flows
        return down if flow is up else up

    def finished(self, flow: Flow, *, can_tell: bool) -> None:
        """A direction is done: its sink has been told, if it can be told without closing it."""
        other = self.other(flow)
        if other.is_done:
            self.end("both sides have ended")
        elif not can_tell:
            other.stop()
        elif not other.is_dropping:
            self.limit_silence()
        elif self._linger is None:
            self._linger = self._poller.timers.call_later(LINGER, self.abort)

    def limit_silence(self) -> None:
        """A side has ended, and so should the other: end them soon once nothing comes any more."""
        if self._watch is None:
            self._watch = self._new_watch(math.inf, math.inf)
        self._watch.allow_silence(self._close_timeout)

    def _new_watch(self, silence: float, lifetime: float) -> Watch:
        return Watch(self._poller.timers, self._count, self.end, silence=silence, lifetime=lifetime)

    def _count(self) -> int:
        return sum(flow.moved for flow in self._flows)

    def close_nowait(self, code: int | None, reason: str) -> None:
        """The server drains: it goes on, until its sides end it or the time is up.

        A close frame can't be sent where frames are not told apart.
        """

    def abort(self) -> None:
        """End at once."""
        self.end("ended here")

    def end(self, why: str) -> None:
        """Close both sides. What a side's network stack has taken still goes there."""
        if self.is_over:
            return
        self.is_over = True
        words = "the proxied connection of %s has ended: %s"
        logger.debug(words, self.remote, why, extra={"remote": self.remote})
        self._client.close()
        self._backend.close()
        if self._watch is not None:
            self._watch.stop()
        if self._linger is not None:
            self._linger.cancel()
        flows, self._flows, self._watch = self._flows, (), None  # no cycle outlives it
        for flow in flows:
            flow.wake()
        callbacks, self._end_callbacks = self._end_callbacks, []
        for callback in callbacks:
            callback(self)

    def add_end_callback(self, callback: Callable[[Any], object]) -> None:
        """Call a function once it has ended."""
        if self.is_over:
            callback(self)
        else:
            self._end_callbacks.append(callback)
