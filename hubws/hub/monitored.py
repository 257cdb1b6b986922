"""What a monitor tells: samples, and figures of connections and of all."""

from __future__ import annotations

import math
from typing import Any

import attrs
import trio

from ..connection.connection import Connection
from ..transport.tcp_info import TcpInfo
from .histogram import Histogram

RECENT = 16
"""Loss is that of this many last pings."""

ENOUGH = 4
"""There is no telling a connection's loss from fewer pings."""


@attrs.frozen
class MonitorSample:
    """What became of one ping. Times are in seconds."""

    connection: Connection
    time: float
    """On trio's clock, when the pong came or the ping was given up."""
    rtt: float | None
    """None: no pong came."""
    queue_delay: float
    """How long the ping waited in this process; in no other figure. NaN without a pong."""
    kernel: TcpInfo | None
    """The kernel's own estimate at this moment, None without one."""

    @property
    def key(self) -> int:
        """What `latest` compares: the connection."""
        return self.connection.id

    @property
    def application_delay(self) -> float:
        """What the network does not explain, the processes' share; NaN when it can't be told."""
        return _application_delay(math.nan if self.rtt is None else self.rtt, self.kernel)


@attrs.frozen
class MonitoredConnection:
    """Figures of one connection since it is monitored. Times are in seconds, NaN when not known."""

    connection: Connection
    pings: int
    """Sent by the monitor; only these are counted here."""
    lost: int
    """Without a pong in time."""
    skipped: int
    """Slots in which no ping was sent, since the one before was still on its way."""
    loss: float
    """Share of the last 16 pings that were lost, NaN with fewer than 4."""
    last: float
    """The last round-trip time; all of them are in `rtt`."""
    smoothed: float
    """Moving average with a weight of 1/8 for the newest (RFC 6298 §2)."""
    rtt: Histogram
    queue_delay: float
    """How long the last ping waited, or still waits, in this process; in no other figure."""
    longest_queue_delay: float
    """The longest of these."""
    kernel: TcpInfo | None
    """The kernel's own estimate, None without one."""

    @property
    def application_delay(self) -> float:
        """What the network does not explain of `smoothed`; NaN when it can't be told."""
        return _application_delay(self.smoothed, self.kernel)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; None instead of NaN."""
        return {
            "connection": self.connection.id,
            "remote": str(self.connection.remote),
            "pings": self.pings,
            "lost": self.lost,
            "skipped": self.skipped,
            "loss": _known(self.loss),
            "last": _known(self.last),
            "smoothed": _known(self.smoothed),
            "rtt": self.rtt.to_dict(),
            "queue_delay": _known(self.queue_delay),
            "longest_queue_delay": _known(self.longest_queue_delay),
            "application_delay": _known(self.application_delay),
            "kernel": None if self.kernel is None else attrs.asdict(self.kernel),
        }


@attrs.frozen
class MonitorTotal:
    """Figures of all members since the monitor was opened, those included that have left."""

    connections: int
    """Monitored now."""
    pings: int
    """Sent by the monitor."""
    lost: int
    """Without a pong in time."""
    skipped: int
    """Slots without a ping, since the one before was still on its way."""
    rtt: Histogram
    kernel_rtt: Histogram
    """The kernel's estimates, taken with at least every eighth pong of a connection."""
    queue_delay: Histogram

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "connections": self.connections,
            "pings": self.pings,
            "lost": self.lost,
            "skipped": self.skipped,
            "rtt": self.rtt.to_dict(),
            "kernel_rtt": self.kernel_rtt.to_dict(),
            "queue_delay": self.queue_delay.to_dict(),
        }


class Watched:
    """What a monitor keeps for one connection, some 500 bytes and its histogram."""

    __slots__ = (
        "_outcomes", "awaited", "connection", "is_alarmed", "is_overtaken", "last",
        "longest_queue_delay", "lost", "pings", "queue_delay", "queued_at", "rtt", "skipped", "slot",
        "smoothed",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.slot = math.nan
        self.awaited: bytes | None = None  # payload of the ping in flight
        self.is_alarmed = False
        self.is_overtaken = False  # the pong of a later ping has come
        self.queued_at = math.nan
        self.pings = self.lost = self.skipped = 0
        self.last = self.smoothed = math.nan
        self.queue_delay = self.longest_queue_delay = math.nan
        self.rtt = Histogram()
        self._outcomes = 1  # below the leading one, a bit for each of the last pings: 1 for lost

    def count_outcome(self, *, lost: bool) -> None:
        """Take note of what became of a ping."""
        self._outcomes = self._outcomes << 1 | lost
        if self._outcomes >> (RECENT + 1):
            self._outcomes = self._outcomes & (1 << RECENT) - 1 | 1 << RECENT

    @property
    def loss(self) -> float:
        """The share of the last pings that were lost; NaN while it can't be told."""
        known = self._outcomes.bit_length() - 1
        return (self._outcomes.bit_count() - 1) / known if known >= ENOUGH else math.nan

    def add(self, rtt: float, queue_delay: float) -> None:
        """Take note of a pong."""
        self.count_outcome(lost=False)
        self.smoothed = (
            rtt if math.isnan(self.smoothed) else self.smoothed + (rtt - self.smoothed) / 8
        )
        self.last = rtt
        self.rtt.add(rtt)
        self.queue_delay = queue_delay
        if not queue_delay <= self.longest_queue_delay:  # which is NaN at first
            self.longest_queue_delay = queue_delay

    def figures(self) -> MonitoredConnection:
        """What is known now."""
        queue_delay = self.queue_delay
        if self.awaited is not None and self.connection.outbox.has_urgent:
            queue_delay = trio.current_time() - self.queued_at
        return MonitoredConnection(
            connection=self.connection,
            pings=self.pings,
            lost=self.lost,
            skipped=self.skipped,
            loss=self.loss,
            last=self.last,
            smoothed=self.smoothed,
            rtt=self.rtt.copy(),
            queue_delay=queue_delay,
            longest_queue_delay=self.longest_queue_delay,
            kernel=self.connection.tcp_info(),
        )


def _application_delay(rtt: float, kernel: TcpInfo | None) -> float:
    return math.nan if kernel is None or math.isnan(rtt) else max(rtt - kernel.rtt, 0.0)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
