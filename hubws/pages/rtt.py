"""The page that shows the round-trip times a monitor measures.

The feed sends JSON objects. To who comes: `interval`, `bounds` of alarms, the `points` so far; and to
all every second one `point`, `total` figures, `rows` of connections that have changed, at most so many,
and the ids of those that have `gone`. Times are in seconds, null when not known.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import trio

from ..connection.connection import Connection
from ..hub.feed import Feed
from ..hub.histogram import Histogram
from ..hub.monitor import Monitor
from ..hub.monitored import MonitorSample
from ..server.authentication import Authenticate
from .live import TICK, LivePage, address_in_words, known, to_json

MAX_ROWS = 250
"""How many connections are told of in one message; the others have their turn in the next."""

MAX_SAMPLES = 10_000
"""How many samples may wait to be counted."""

BINS = 10
"""Bars of the histogram for each factor of ten."""


class RttPage(LivePage):
    """A table and plots of the round-trip times of a hub's members, live.

        async with hubws.open_hub() as hub, hubws.open_monitor(hub, interval=2) as monitor:
            await serve_pages([RttPage(monitor)], handler, "127.0.0.1", 8081)

    It samples while somebody looks, at most `MAX_ROWS` connections of the table a second.

    Args:
        monitor: what measures.
        path: where the page is: a folder.
        authenticate: who may look, as for `hubws.serve`, but not async; None: everybody.

    """

    def __init__(
        self, monitor: Monitor, path: str = "/", *, authenticate: Authenticate | None = None
    ) -> None:
        super().__init__("rtt", path, monitor.hub.nursery, authenticate)
        self._monitor = monitor
        self._changed: dict[Connection, None] = {}
        self._shown: dict[Connection, None] = {}
        self._alarms: dict[int, list[str]] = {}
        self._point = _Point()

    async def greet(self, connection: Connection) -> None:
        self._look_for_alarms()
        fields = {"interval": self._monitor.interval, "points": list(self.points)}
        await connection.send(to_json(fields | {"total": self._total()}))
        members = iter(list(self._monitor))
        while some := list(islice(members, MAX_ROWS)):
            await connection.send(to_json({"rows": self._rows(some)}))

    async def feed(self) -> None:
        self._changed.clear()
        self._shown = dict.fromkeys(self._monitor)  # which greet sends
        self._point = _Point()
        async with (
            self._monitor.samples(MAX_SAMPLES) as samples,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._collect, samples)
            while True:
                await trio.sleep(TICK)
                self.show(self._news())

    async def _collect(self, samples: Feed[MonitorSample]) -> None:
        async for sample in samples:
            self._point.add(sample)
            self._changed[sample.connection] = None

    def _news(self) -> dict[str, Any]:
        """What has changed since the last tick."""
        point, self._point = self._point.fields(), _Point()
        self.points.append(point)
        self._look_for_alarms()
        members = dict.fromkeys(self._monitor)
        for connection in members.keys() - self._shown.keys():
            self._changed[connection] = None
        gone = list(islice((self._shown.keys() - members.keys()), MAX_ROWS))
        for connection in gone:
            del self._shown[connection]
        rows: list[Connection] = []
        while self._changed and len(rows) < MAX_ROWS:
            connection = next(iter(self._changed))
            del self._changed[connection]
            if connection in members:
                self._shown[connection] = None
                rows.append(connection)
        return {
            "point": point,
            "total": self._total(),
            "rows": self._rows(rows),
            "gone": [connection.id for connection in gone],
        }

    def _look_for_alarms(self) -> None:
        """Those whose alarms are others than before have changed."""
        before, self._alarms = self._alarms, {}
        connections = {}
        for alarm in self._monitor.active_alarms:
            self._alarms.setdefault(alarm.connection.id, []).append(alarm.kind.value)
            connections[alarm.connection.id] = alarm.connection
        hub = self._monitor.hub
        for number in before.keys() | self._alarms.keys():
            connection = connections.get(number) or hub.get(number)
            if before.get(number) != self._alarms.get(number) and connection is not None:
                self._changed[connection] = None

    def _total(self) -> dict[str, Any]:
        total = self._monitor.total
        return {
            "connections": total.connections,
            "pings": total.pings,
            "lost": total.lost,
            "p50": known(total.rtt.percentile(50)),
            "p99": known(total.rtt.percentile(99)),
            "alarms": len(self._monitor.active_alarms),
        }

    def _rows(self, connections: Iterable[Connection]) -> list[dict[str, Any]]:
        rows = []
        for connection in connections:
            try:
                rows.append(self._row(connection))
            except KeyError:  # it has gone meanwhile
                continue
        return rows

    def _row(self, connection: Connection) -> dict[str, Any]:
        figures = self._monitor.connection(connection)
        user = self._monitor.hub.user_of(connection)
        return {
            "id": connection.id,
            "user": None if user is None else str(user)[:64],
            "remote": address_in_words(connection.remote),
            "last": known(figures.last),
            "p50": known(figures.rtt.percentile(50)),
            "p99": known(figures.rtt.percentile(99)),
            "jitter": known(connection.rtt.jitter),
            "loss": known(figures.loss),
            "pings": figures.pings,
            "lost": figures.lost,
            "queue": known(figures.queue_delay),
            "alarms": self._alarms.get(connection.id, []),
        }


class _Point:
    """What one tick saw of all connections."""

    def __init__(self) -> None:
        self._rtt = Histogram()
        self._lost = 0
        self._bins: Counter[int] = Counter()

    def add(self, sample: MonitorSample) -> None:
        """Count a sample."""
        if sample.rtt is None:
            self._lost += 1
        else:
            self._rtt.add(sample.rtt)
            self._bins[math.floor(math.log10(max(sample.rtt, 1e-6)) * BINS)] += 1

    def fields(self) -> dict[str, Any]:
        """For the page; bin n begins at 10 ** (n / BINS) seconds."""
        return {
            "time": round(time.time(), 3),
            "count": self._rtt.count,
            "lost": self._lost,
            "p50": known(self._rtt.percentile(50)),
            "p99": known(self._rtt.percentile(99)),
            "bins": self._bins,
        }
