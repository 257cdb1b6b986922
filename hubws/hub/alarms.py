"""Alarms of a monitor: raised once as a value passes its bound, cleared once it is well below."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Hashable
from enum import StrEnum
from typing import Any

import attrs
import trio

from ..connection.connection import Connection
from ..connection.queue import Policy
from .feed import Feed


class AlarmKind(StrEnum):
    """What passed its bound."""

    RTT = "rtt"
    """The smoothed round-trip time, in seconds."""
    LOSS = "loss"
    """The share of the last 16 pings that were lost."""


@attrs.frozen
class MonitorAlarm:
    """A connection has passed a bound, or is well within it again."""

    connection: Connection
    kind: AlarmKind
    value: float
    """What has passed the bound: seconds of round-trip time, or the share of pings that were lost."""
    bound: float
    """The bound itself: in seconds, or as a share."""
    time: float
    """On trio's clock, in seconds."""
    is_raised: bool
    """False: cleared, or the connection has gone."""

    @property
    def key(self) -> tuple[int, AlarmKind]:
        """What `latest` compares: connection and kind."""
        return self.connection.id, self.kind

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "connection": self.connection.id,
            "kind": self.kind.value,
            "value": self.value,
            "bound": self.bound,
        }


class Alarms:
    """The active alarms, at most one of each kind for a connection, and who follows them.

    Attributes:
        rtt_bound, loss_bound: infinity without one.

    """

    def __init__(self, rtt_bound: float | None, loss_bound: float | None, clear_at: float) -> None:
        self.rtt_bound = math.inf if rtt_bound is None else rtt_bound
        self.loss_bound = math.inf if loss_bound is None else loss_bound
        self._bounds = {AlarmKind.RTT: self.rtt_bound, AlarmKind.LOSS: self.loss_bound}
        self._clear_at = clear_at
        self._active: dict[Hashable, MonitorAlarm] = {}
        self._feeds: list[Feed[MonitorAlarm]] = []

    @property
    def active(self) -> list[MonitorAlarm]:
        """What was raised and has not been cleared, oldest first."""
        return list(self._active.values())

    def check(self, connection: Connection, kind: AlarmKind, value: float) -> bool:
        """Raise or clear an alarm if that value calls for it; NaN changes nothing.

        Returns whether the connection has an active alarm, of whatever kind.
        """
        bound = self._bounds[kind]
        alarm = self._active.get((connection.id, kind))
        if alarm is None and value > bound:
            now = trio.current_time()
            alarm = MonitorAlarm(connection, kind, value, bound, now, is_raised=True)
            self._active[alarm.key] = alarm
            self._tell(alarm)
        elif alarm is not None and value <= bound * self._clear_at:
            self._clear(alarm, value)
        return any((connection.id, one) in self._active for one in AlarmKind)

    def forget(self, connection: Connection) -> None:
        """Clear the alarms of a connection that has gone."""
        for kind in AlarmKind:
            if (alarm := self._active.get((connection.id, kind))) is not None:
                self._clear(alarm, alarm.value)

    def _clear(self, alarm: MonitorAlarm, value: float) -> None:
        del self._active[alarm.key]
        self._tell(attrs.evolve(alarm, is_raised=False, value=value, time=trio.current_time()))

    def _tell(self, alarm: MonitorAlarm) -> None:
        for feed in self._feeds:
            feed.put(alarm)

    @contextlib.asynccontextmanager
    async def follow(self, limit: int, policy: Policy | str) -> AsyncIterator[Feed[MonitorAlarm]]:
        """Feed alarms to the block, those first that are active."""
        feed = Feed[MonitorAlarm](limit, policy)
        for alarm in self._active.values():
            feed.put(alarm)
        with feed.joined_to(self._feeds):
            yield feed

    def close(self) -> None:
        """End the iterations once what is queued has been taken."""
        for feed in self._feeds:
            feed.close()
