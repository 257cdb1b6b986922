"""The page that shows what a hub does: members, topics, messages, queues, drops, memory, closes.

The feed sends JSON objects: to who comes the `points` so far, and to all every second one `point`,
which the plots show, and `now`, with everything that has no history.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from itertools import islice
from typing import Any

import attrs
import trio

from ..connection.connection import Connection
from ..hub.hub import Hub
from ..server.authentication import Authenticate
from .figures import QueueLook, Queues, Rates, memory
from .live import TICK, LivePage, known, to_json

MAX_TOPICS = 20
"""How many topics, those with the most members, are named."""

TOPICS_LOOKED_AT = 5000
"""Of more topics only so many are looked at, which takes two milliseconds."""

MAX_CODES = 20
"""How many close codes, those that most connections ended with, are named: a client chooses its own."""

SHARE = 20
"""Looking at all members may take one in so many seconds; if it takes more, with some ten thousand of
them, it is done less often than every second."""

LONGEST = 10.0
"""But at least every so many seconds, or the page would take the connection for dead."""

COUNTERS = ("sent", "broadcasts", "dropped", "bytes_in", "bytes_out", "cpu")
"""Whose growth in a second is shown."""


class Dashboard(LivePage):
    """What a hub and its server do, live.

        dashboard = Dashboard(hub, authenticate=hubws.basic_auth({"ada": "open sesame"}))
        await serve_pages([dashboard], handler, "127.0.0.1", 8080)

    It counts while somebody looks; how connections ended, always. On a server of its own (`handler` of
    `serve_pages` is None then) it knows of those ends that it is told of:
    `hubws.Callbacks(on_close=dashboard.count_close)`.

    Args:
        hub: what it shows.
        path: where the page is: a folder.
        authenticate: who may look, as for `hubws.serve`, but not async. It shows addresses and names of
            users and topics, so you have to say None if everybody may.

    """

    def __init__(
        self, hub: Hub, path: str = "/dashboard/", *, authenticate: Authenticate | None
    ) -> None:
        super().__init__("dashboard", path, hub.nursery, authenticate)
        self._hub = hub
        self._started = time.time()
        self._closes: Counter[int] = Counter()
        self._now: dict[str, Any] = {}

    def watch(self, connection: Connection) -> None:
        connection.add_end_callback(self.count_close)

    def count_close(self, connection: Connection) -> None:
        """Take note of how a connection ended; for `on_close` of `hubws.Callbacks`."""
        if (closure := connection.closure) is not None:
            self._closes[closure.code] += 1

    async def greet(self, connection: Connection) -> None:
        await connection.send(to_json({"points": list(self.points), "now": self._now}))

    async def feed(self) -> None:
        rates, look = Rates(), QueueLook(self._hub)
        due = trio.current_time()
        while True:
            began = trio.current_time()
            queues = await look.look()
            point, self._now = self._figures(rates, queues), self._details(queues, began - due)
            self.points.append(point)
            self.show({"point": point, "now": self._now})
            due = began + max(TICK, min(SHARE * queues.seconds, LONGEST))
            await trio.sleep_until(due)

    def _figures(self, rates: Rates, queues: Queues) -> dict[str, Any]:
        """What the plots show; rates are None the first time."""
        hub = self._hub.statistics()
        grown = rates.of(
            sent=hub.sent,
            broadcasts=hub.broadcasts,
            dropped=hub.dropped + hub.disconnected,
            bytes_in=queues.received,
            bytes_out=queues.sent,
            cpu=time.process_time(),
        )
        return {
            "time": round(time.time(), 3),
            "members": hub.members,
            "queued": queues.bytes,
            "memory": memory(),
            **{f"{name}_rate": known(grown.get(name)) for name in COUNTERS},
        }

    def _details(self, queues: Queues, late: float) -> dict[str, Any]:
        """What has no history."""
        hub, server = self._hub, self.server
        statistics = hub.statistics()
        names = islice(hub.topics(), TOPICS_LOOKED_AT)
        topics = heapq.nlargest(MAX_TOPICS, ((len(hub.members(name)), name) for name in names))
        return {
            "seconds": round(time.time() - self._started),
            "late": known(late),
            "users": len(hub.users()),
            "topics": statistics.topics,
            "largest": [[name[:64], count] for count, name in topics],
            "broadcasts": statistics.broadcasts,
            "sent": statistics.sent,
            "dropped": statistics.dropped,
            "disconnected": statistics.disconnected,
            "policies": {
                policy.value: [one.dropped, one.disconnected]
                for policy, one in statistics.by_policy.items()
            },
            "closes": dict(self._closes.most_common(MAX_CODES)),
            "server": None if server is None else attrs.asdict(server.statistics()),
            "queues": {
                "messages": queues.messages,
                "bytes": queues.bytes,
                "stalled": queues.stalled,
                "longest": queues.longest,
            },
        }
