"""Figures of one connection."""

from __future__ import annotations

import attrs


@attrs.frozen
class ConnectionStatistics:
    """Figures of one connection at one moment."""

    bytes_received: int
    """On the wire, since the opening handshake."""
    bytes_sent: int
    """Taken by the socket, the opening handshake of a server included."""
    messages_received: int
    """Whole ones, be they taken already or not."""
    messages_sent: int
    """Of which the socket has taken the last byte."""
    inbox_messages: int
    """Messages that wait for `receive`."""
    outbox_messages: int
    """Messages that wait to be sent, all of each."""
    outbox_bytes: int
    """Bytes of all kinds that wait to be sent."""
    dropped: int
    """Messages that gave way to others at the outbox's bound."""
    conflated: int
    """Messages replaced by a newer one of the same key."""
    is_stalled: bool
    """Whether the socket takes nothing more for now."""
    rate_dropped: int = 0
    """Messages received and dropped because they came faster than `rate_limit` allows."""
