"""What a process uses, and what the members of a hub have waiting: what a dashboard shows."""

from __future__ import annotations

import heapq
import os
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import trio

from ..connection.connection import Connection
from ..connection.statistics import ConnectionStatistics
from ..hub.hub import Hub
from .live import address_in_words

SLICE = 256
"""How many members are looked at before other tasks get a turn."""

MOST = 10
"""How many members with the longest queues are named."""


def memory() -> int | None:
    """What the process holds in memory, in bytes; None where it can't be told."""
    if not sys.platform.startswith("linux"):
        return None
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Rates:
    """By how much counters grow in a second."""

    def __init__(self) -> None:
        self._at = 0.0
        self._before: dict[str, float] = {}

    def of(self, **counters: float) -> dict[str, float]:
        """What each has grown a second since the last call; empty the first time."""
        now = time.monotonic()
        seconds, before = now - self._at, self._before
        self._at, self._before = now, counters
        if not before or seconds <= 0:
            return {}
        return {name: (counters[name] - before[name]) / seconds for name in counters}


@attrs.define
class Queues:
    """What the members of a hub have waiting, and what went through their sockets."""

    messages: int = 0
    bytes: int = 0
    stalled: int = 0
    """Members whose sockets take nothing more for now."""
    received: int = 0
    """Bytes since the first look."""
    sent: int = 0
    seconds: float = 0.0
    """How long it took to look."""
    longest: list[dict[str, Any]] = attrs.Factory(list)


class QueueLook:
    """Looks at all members, some at a time, so that other tasks run between."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._bytes_of: dict[Connection, tuple[int, int]] | None = None  # by the last look
        self._received = self._sent = 0

    async def look(self) -> Queues:
        """Add up what the members have waiting."""
        queues, bytes_of = Queues(), dict[Connection, tuple[int, int]]()
        longest: list[tuple[int, int, Connection, ConnectionStatistics]] = []
        members = list(self._hub.connections)
        for start in range(0, max(len(members), 1), SLICE):
            began = time.perf_counter()
            for connection in members[start : start + SLICE]:
                figures = connection.statistics()
                bytes_of[connection] = self._count_bytes(connection, figures)
                queues.messages += figures.outbox_messages
                queues.bytes += figures.outbox_bytes
                queues.stalled += figures.is_stalled
                if figures.outbox_bytes or figures.inbox_messages or figures.dropped:
                    entry = (figures.outbox_bytes, connection.id, connection, figures)
                    if len(longest) < MOST:
                        heapq.heappush(longest, entry)
                    elif entry > longest[0]:
                        heapq.heapreplace(longest, entry)
            queues.seconds += time.perf_counter() - began
            await trio.lowlevel.checkpoint()
        self._bytes_of = bytes_of
        queues.received, queues.sent = self._received, self._sent
        queues.longest = [
            self._describe(connection, figures)
            for _, _, connection, figures in sorted(longest, reverse=True)
        ]
        return queues

    def _count_bytes(
        self, connection: Connection, figures: ConnectionStatistics
    ) -> tuple[int, int]:
        """Add what has gone through a socket since the last look; returns all that has."""
        if self._bytes_of is not None:
            received, sent = self._bytes_of.get(connection, (0, 0))
            self._received += figures.bytes_received - received
            self._sent += figures.bytes_sent - sent
        return figures.bytes_received, figures.bytes_sent

    def _describe(self, connection: Connection, figures: ConnectionStatistics) -> dict[str, Any]:
        user = self._hub.user_of(connection)
        return {
            "id": connection.id,
            "user": None if user is None else str(user)[:64],
            "remote": address_in_words(connection.remote),
            "messages": figures.outbox_messages,
            "bytes": figures.outbox_bytes,
            "inbox": figures.inbox_messages,
            "dropped": figures.dropped + figures.conflated,
            "stalled": figures.is_stalled,
        }
