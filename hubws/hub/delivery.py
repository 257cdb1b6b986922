"""One message to many connections, none of which is waited for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

import attrs

from ..connection.connection import Connection
from ..connection.queue import DISCONNECT, LATEST, Droppable, Policy, Put
from .prepared import Prepared
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


@attrs.define
class PolicyCounters:
    """What one policy did in a hub."""

    dropped: int = 0
    """Messages that a member did not get."""
    disconnected: int = 0
    """Members that were closed with 1013."""


def needs_own_frame(connection: Connection) -> bool:
    """Whether the plain frame that others share is not for it: it masks, or it compresses."""
    return connection.is_client or connection.deflater is not None


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
        special: Mapping[Connection, Policy | None],
        *,
        override: bool = False,
    ) -> Delivery:
        """Queue a message for each of the recipients; it goes out with this turn.

        `special` are those who get a frame of their own, with a policy that goes before `policy`
        unless `override` is set.
        """
        sent = dropped = disconnected = 0
        common = message.frame(policy, key)
        may_put = policy is not LATEST  # which looks for older ones first
        for connection in recipients:
            if special and connection in special:
                chosen = policy if override else special[connection] or policy
                if connection.is_client:
                    own = connection.encode(message.message)  # masked, with a key of its own
                    frame = Droppable.make(own, chosen, key, message)
                else:
                    frame = message.frame(chosen, key, connection.deflater)
            elif may_put and connection.outbox.put(common):
                sent += 1
                continue
            else:
                frame = common
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
        return Delivery(sent, dropped, disconnected)

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
