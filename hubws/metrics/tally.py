"""What connections have moved and dropped, and what waits on them, in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs

from ..connection.connection import Connection


@attrs.define
class Tally:
    """Sums of the figures of many connections; of those that ended, and of those that are open."""

    messages_received: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    bytes_sent: int = 0
    dropped: Counter[str] = attrs.Factory(Counter)
    """By policy."""
    outbox_messages: int = 0
    outbox_bytes: int = 0
    largest_outbox: int = 0
    stalled: int = 0

    @classmethod
    def of(cls, connections: Iterable[object]) -> Tally:
        """That of those among them that hubws reads and writes itself: not of a proxy's tunnels."""
        tally = cls()
        for connection in connections:
            if isinstance(connection, Connection):
                tally.add(connection)
        return tally

    def add(self, connection: Connection) -> None:
        """Add one connection as it is now."""
        messages_received, bytes_received, messages_sent, bytes_sent = connection.traffic()
        self.messages_received += messages_received
        self.bytes_received += bytes_received
        self.messages_sent += messages_sent
        self.bytes_sent += bytes_sent
        counters = connection.outbox.counters
        if counters is not None:
            lost = counters.dropped + counters.conflated
            self.dropped[connection.settings.policy.value] += lost
        if connection.queued_bytes:
            figures = connection.statistics()
            self.outbox_messages += figures.outbox_messages
            self.outbox_bytes += figures.outbox_bytes
            self.largest_outbox = max(self.largest_outbox, figures.outbox_bytes)
            self.stalled += figures.is_stalled
