"""One task per trio run that watches every plain socket, and flushes whoever has something to send.

`trio.lowlevel.wait_readable` arms epoll and reschedules a task for each message (68,000 messages a
second); here every socket stays registered in one epoll descriptor, that descriptor is what the task
waits for, and each ready socket is served by a plain call.

A turn is one pass over the ready sockets. Whoever has something to send marks itself; it is flushed
once, at the end of the turn (or, outside of one, by a task that runs once after all that are
runnable now), so that many messages become one system call.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable
from typing import Protocol

import trio

from .syscalls import HAS_EPOLL, ready, send_many
from .timers import Timers

BUFFER = 256 * 1024
"""The most that is read from a socket at once, in bytes."""

READS = 256
"""How many sockets are served before other tasks get a chance, when none was woken."""

SLICE = 1024
"""How many are flushed before other tasks get a chance: some five milliseconds of system calls."""

logger = logging.getLogger("hubws")


class Flushable(Protocol):
    """Who can have something to send. Nothing here may raise."""

    fd: int

    def flush(self) -> None:
        """Send it, or see to it that it will be sent."""

    # the same in steps, for many at once

    def offer(self) -> list[bytes]:
        """What there is to send now."""

    def took(self, n: int) -> bool:
        """Note how many bytes were taken of it, or -errno; returns whether that was all."""

    def settle(self, n: int) -> None:
        """Do what follows if it was not."""


class Poller:
    """Readiness and flushing for one trio run; `current_poller` returns the run's own.

    Attributes:
        buffer: the one buffer that all sockets are read into, in use during a call only.
        dirty: who has something to send, see `wake`.
        timers: the run's timers.
        has_woken: set by who has woken a task while it was being served: it ends the turn early.

    """

    __slots__ = (
        "_awake",
        "_epoll",
        "_flusher",
        "_watched",
        "buffer",
        "dirty",
        "has_woken",
        "timers",
    )

    def __init__(self) -> None:
        self._epoll = select.epoll() if HAS_EPOLL else None
        self._watched: dict[int, Callable[[], None]] = {}
        self.dirty: list[Flushable] = []
        self._awake = False  # the poller's task runs, or will without being woken
        self.has_woken = False
        self._flusher: trio.lowlevel.Task | None = None  # while it is parked
        self.buffer = bytearray(BUFFER)
        self.timers = Timers()

    # -- reading -------------------------------------------------------------------------------

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call on_readable whenever the descriptor can be read, until `forget`."""
        assert self._epoll is not None
        self._epoll.register(fd, select.EPOLLIN)
        self._watched[fd] = on_readable

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor, before it is closed. Can be called again."""
        if self._watched.pop(fd, None) is not None:
            assert self._epoll is not None
            self._epoll.unregister(fd)

    async def run(self) -> None:
        """Serve ready sockets until cancelled."""
        epoll, watched, dirty = self._epoll, self._watched, self.dirty
        if epoll is None:
            return
        left = READS
        try:
            while True:
                if dirty:
                    await self._flush()
                fds = ready(epoll)
                if not fds:
                    if dirty:  # marked while others were flushed: nobody else will do it
                        await trio.lowlevel.checkpoint()
                        continue
                    self._awake = False
                    await trio.lowlevel.wait_readable(epoll.fileno())
                    self._awake = True
                    left = READS
                    continue
                for fd in fds:
                    on_readable = watched.get(fd)
                    if on_readable is None:
                        continue  # forgotten by one that was served before it
                    try:
                        on_readable()
                    except Exception:
                        logger.exception("a receiver raised; its socket is not read any more")
                        self.forget(fd)
                    if len(dirty) == 1:
                        dirty.pop().flush()  # an answer to what was just read goes out at once
                left -= len(fds)
                if left <= 0 or self.has_woken:
                    if dirty:
                        await self._flush()
                    self.has_woken = False
                    left = READS
                    await trio.lowlevel.checkpoint()
        finally:
            watched.clear()
            epoll.close()

    # -- writing -------------------------------------------------------------------------------

    def wake(self) -> None:
        """See that `dirty` is flushed soon; call it before appending to the list while it is empty.

        Whoever has something to send appends itself, once. As long as the list isn't empty, somebody
        is bound to flush it.
        """
        if self._flusher is not None and not self._awake:
            trio.lowlevel.reschedule(self._flusher)
            self._flusher = None

    async def flush_forever(self) -> None:
        """Flush what tasks have marked, once they have had their turn, until cancelled."""

        def unpark(_: object) -> trio.lowlevel.Abort:
            self._flusher = None
            return trio.lowlevel.Abort.SUCCEEDED

        while True:
            if self.dirty:
                await self._flush()
            else:
                self._flusher = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(unpark)

    async def _flush(self) -> None:
        """Flush who is marked now; who is marked meanwhile has to wait for the next time."""
        dirty = self.dirty
        left = len(dirty)
        while left > 0 and dirty:
            some = dirty[: min(SLICE, left)]
            del dirty[: len(some)]
            left -= len(some)
            self._flush_together(some)
            if dirty:
                await trio.lowlevel.checkpoint()

    @staticmethod
    def _flush_together(some: list[Flushable]) -> None:
        """Flush many in one call: Python and the kernel take turns once, not once for each."""
        counts = send_many([one.fd for one in some], [one.offer() for one in some])
        late = [(one, n) for one, n in zip(some, counts, strict=True) if not one.took(n)]
        for one, n in late:
            one.settle(n)


_poller: trio.lowlevel.RunVar[Poller] = trio.lowlevel.RunVar("hubws poller")


def current_poller() -> Poller:
    """The poller of this trio run; its tasks are started on first use."""
    try:
        return _poller.get()
    except LookupError:
        poller = Poller()
        _poller.set(poller)
        trio.lowlevel.spawn_system_task(poller.run, name="hubws poller")
        trio.lowlevel.spawn_system_task(poller.flush_forever, name="hubws flusher")
        trio.lowlevel.spawn_system_task(poller.timers.run, name="hubws timers")
        return poller
