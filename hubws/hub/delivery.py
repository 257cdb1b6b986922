"""One message to many connections, none of which is waited for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

import attrs

from ..connection.connection import Connection
from ..connection.prepared import Prepared
from ..connection.queue import DISCONNECT, LATEST, Droppable, Policy, Put
from .history import Position
from .watch import Loss, Watchers


@attrs.frozen
class Delivery:
    """What became of a broadcast."""

    sent: int
    """Members in whose outbox it was queued; it goes out with this turn."""
    dropped: int
    """Messages that members did not get for it: this one, or older ones that made room for it."""
    disconnected: int
    """Members that were closed with 1013 because they are too slow."""
    position: Position | None = None
    """Its place in the topic's history, where there is one."""


@attrs.define
class PolicyCounters:
    """What one policy did in a hub."""

    dropped: int = 0
    """Messages that a member did not get."""
    disconnected: int = 0
    """Members that were closed with 1013."""


class Dispatcher:
    """Offers messages to connections, and counts and reports what that came to."""

    __slots__ = ("_losses", "counters", "messages", "sent")

    def __init__(self, losses: Watchers[Loss]) -> None:
        self._losses = losses
        self.messages = 0
        self.sent = 0
        self.counters: dict[Policy, PolicyCounters] = {}

    def dispatch(
        self,
        message: Prepared,
        recipients: Iterable[Connection],
        policy: Policy,
        key: Hashable,
        topic: str | None,
        own_policies: Mapping[Connection, Policy],
        position: Position | None = None,
    ) -> Delivery:
        """Queue a message for each of the recipients; it goes out with this turn.

        `own_policies` are those of members which go before `policy`.
        """
        sent = dropped = disconnected = 0
        common = message.frame(policy, key)
        may_put = policy is not LATEST  # which looks for older ones first
        for connection in recipients:
            frame = common
            if own_policies and connection in own_policies:
                frame = message.frame(own_policies[connection], key)
            elif may_put and connection.outbox.put(common):
                sent += 1
                continue
            thrown_out: list[Droppable] = []
            put = connection.offer(frame, thrown_out)
            if put is Put.QUEUED:
                sent += 1
            elif put is Put.DROPPED:
                thrown_out.append(frame)
            elif put is Put.DISCONNECTED:
                disconnected += 1
                self._lost(connection, frame, topic)
            for lost in thrown_out:
                dropped += 1
                self._lost(connection, lost, topic)
        self.messages += 1
        self.sent += sent
        return Delivery(sent, dropped, disconnected, position)

    def _lost(self, connection: Connection, frame: Droppable, topic: str | None) -> None:
        counters = self.counters.setdefault(frame.policy, PolicyCounters())
        disconnected = frame.policy is DISCONNECT
        if disconnected:
            counters.disconnected += 1
        else:
            counters.dropped += 1
        if self._losses and isinstance(frame.source, Prepared):
            message = frame.source.message
            self._losses(Loss(connection, message, frame.policy, topic, disconnected))
