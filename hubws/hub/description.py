"""A hub as plain data, for pages and logs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..connection.connection import Connection

if TYPE_CHECKING:
    from .hub import Hub

SLICE = 256
"""How many members are described before other tasks get a turn."""


async def describe(hub: Hub) -> dict[str, Any]:
    """Members, topics and counters, as `Hub.snapshot` says."""
    members = []
    for index, connection in enumerate(hub):
        if index % SLICE == SLICE - 1:
            await trio.lowlevel.checkpoint()
        if connection in hub:
            members.append(_describe(hub, connection))
    await trio.lowlevel.checkpoint()
    statistics = hub.statistics()
    by_policy = statistics.by_policy.items()
    return {
        "members": members,
        "topics": {topic: len(hub.members(topic)) for topic in hub.topics()},
        "broadcasts": statistics.broadcasts,
        "sent": statistics.sent,
        "dropped": statistics.dropped,
        "disconnected": statistics.disconnected,
        "by_policy": {policy.value: attrs.asdict(counters) for policy, counters in by_policy},
    }


def _describe(hub: Hub, connection: Connection) -> dict[str, Any]:
    statistics = connection.statistics()
    rtt = connection.rtt
    user = hub.user_of(connection)
    return {
        "id": connection.id,
        "remote": str(connection.remote),
        "user": None if user is None else str(user),
        "state": connection.state.value,
        "topics": list(hub.topics(connection)),
        "rtt": None if math.isnan(rtt.last) else {"last": rtt.last, "smoothed": rtt.smoothed},
    } | attrs.asdict(statistics)
