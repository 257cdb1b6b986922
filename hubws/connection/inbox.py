"""Messages that have arrived and wait for the application.

A queue in two lists: what is being taken, reversed, so that the next message is its last; and what
has arrived since. Whole batches move; there is no cost per waiting message. A message that comes in
pieces, and what comes behind it, waits apart.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .streaming import MessageStream

TURN = 64
"""The most messages that are taken between two checkpoints."""


class Inbox:
    """The queue of one connection.

    Attributes:
        batch: what is being taken, the next message last.
        turns: messages that may still be taken without a checkpoint; TURN right after one.

    """

    __slots__ = (
        "_arrived",
        "_behind",
        "_limit_bytes",
        "_limit_messages",
        "_size",
        "_waiting",
        "batch",
        "turns",
    )

    def __init__(self, limit_messages: int, limit_bytes: int) -> None:
        self._limit_messages = limit_messages
        self._limit_bytes = limit_bytes
        self._arrived: list[str | bytes] = []
        self._behind: deque[MessageStream | list[str | bytes]] | None = None  # what has arrived
        self._size = 0  # bytes on the wire since the inbox was empty
        self._waiting: dict[trio.lowlevel.Task, None] = {}
        self.batch: list[str | bytes] = []
        self.turns = TURN - 1

    def __len__(self) -> int:
        behind = sum(map(len, self._behind or ()))
        return len(self.batch) + len(self._arrived) + behind

    def put(self, messages: list[str | bytes], size: int) -> bool:
        """Add a batch of that many bytes on the wire; returns whether the inbox is full now."""
        if self._behind:
            self._behind.append(messages)
        elif self._arrived:
            self._arrived += messages
        else:
            self._arrived = messages
        self._size += size
        self._wake(len(messages))
        return self.is_full

    @property
    def is_full(self) -> bool:
        """Whether it is over one of its limits."""
        return len(self) > self._limit_messages or self._size > self._limit_bytes

    @property
    def has_arrived(self) -> bool:
        """Whether anything waits, be it only a piece of a message."""
        return bool(self._arrived or self._behind)

    def refill(self) -> bool:
        """Move what has arrived to an empty batch; returns whether there is anything."""
        if not self._arrived:
            if not self._behind:
                self._size = 0
                return False
            first = self._behind[0]
            if not isinstance(first, list):
                return False
            self._arrived = first
            self._behind.popleft()
        self.batch, self._arrived = self._arrived, []
        self.batch.reverse()
        return True

    def put_stream(self, stream: MessageStream) -> None:
        """Add a message that comes in pieces."""
        if self._behind is None:
            self._behind = deque()
        self._behind.append(stream)
        self._wake(1)

    @property
    def stream(self) -> MessageStream | None:
        """The next message, if it comes in pieces."""
        if self.batch or self._arrived or not self._behind:
            return None
        first = self._behind[0]
        return None if isinstance(first, list) else first

    def remove_stream(self) -> None:
        """Note that it was taken."""
        assert self._behind
        self._behind.popleft()
        if self._behind:
            self._wake(1)

    def _wake(self, count: int) -> None:
        while self._waiting and count > 0:
            task = next(iter(self._waiting))
            del self._waiting[task]
            trio.lowlevel.reschedule(task)
            count -= 1

    def wake_all(self) -> None:
        """Wake everybody who waits: there may be nothing more to come."""
        self._wake(len(self._waiting))

    async def yield_at_end(self) -> None:
        """Let others run before it is told that nothing will come, unless they just have."""
        if self.turns < TURN:
            await trio.lowlevel.checkpoint()
        self.turns = 0  # who asks again waits for others

    async def wait(self) -> None:
        """Wait until there may be something, or nothing will come. Look again after it."""
        task = trio.lowlevel.current_task()
        self._waiting[task] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.pop(task, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        self.turns = TURN
