"""Metrics of servers, their connections, and hubs, as Prometheus reads them.

Nothing is counted here for a message: connections count their own, and are asked when somebody
reads the metrics. Connections are counted here when they open and when they end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Protocol

import trio

from ..connection.connection import Connection
from ..hub.delivery import PolicyCounters
from ..hub.hub import Hub
from ..hub.linked import LinkedHub
from ..protocol.http import Request, Response
from ..server.observer import Observer
from ..server.serve import serve
from ..server.server import Server
from ..transport.abc import SocketAddress
from ..transport.poller import current_poller
from ..transport.timers import Timer
from .tally import Tally

try:
    from prometheus_client import CollectorRegistry, Histogram
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError("metrics need prometheus-client: pip install 'hubws[metrics]'") from error

SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of what is counted for round trips and for the loop's delay."""

LIFETIMES = (1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0)
"""The same for how long connections live, in seconds."""

MAX_LABELS = 100
"""How many close codes, or statuses, are counted each by itself: a peer may choose any of 2,000."""

LOOK_EVERY = 0.1
"""How often the loop's delay is measured, in seconds."""


class Client(Protocol):
    """A connection, or a proxy's tunnel."""

    @property
    def closure(self) -> Any:
        """How it ended."""


class Metrics(Observer):
    """Metrics for Prometheus; give it to `serve(..., observers=[metrics])`, one or several times.

    Args:
        registry: where they are registered, to be read in trio's thread; one of its own by default.
        path: what `respond` answers.

    Raises ValueError when the registry has metrics of these names already.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, *, path: str = "/metrics"
    ) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self.path = path
        self._servers: dict[Server, None] = {}
        self._hubs: dict[str, Hub] = {}
        self._opened: dict[Any, float] = {}
        self._ended = Tally()
        self._timer: Timer | None = None
        self._count_rtt = self._on_pong  # bound once
        # Counted here, since prometheus_client's counters and their locks take several microseconds
        # of the sixty that a connection costs in all.
        self._handshakes = Counter({"101": 0, "lost": 0})  # from the start, so that rates are known
        self._closes: Counter[str] = Counter()
        self._lifetimes = [0] * (len(LIFETIMES) + 1)
        self._lived = 0.0
        self._rtt = Histogram(
            "hubws_rtt_seconds", "Round-trip times of pings.", buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._delay = Histogram(
            "hubws_loop_delay_seconds", "How late the loop was for a timer.", buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.registry.register(_Now(self))

    # -- reading them --------------------------------------------------------------------------

    def respond(self, request: Request) -> Response | None:
        """Answer a request for the metrics, for `on_request`; None for any other."""
        if request.path != self.path:
            return None
        if request.method not in ("GET", "HEAD"):
            return Response.refusal(405, "metrics are read with GET", [("Allow", "GET, HEAD")])
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", "") or "")
        except TypeError:  # for a version that is no number
            encode, content_type = choose_encoder("")
        return Response(200, encode(self.registry), [("Content-Type", content_type)])

    async def serve(
        self,
        host: str | None,
        port: int,
        *,
        task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve nothing but the metrics at that address until cancelled. Raises OSError."""
        await serve(_hang_up, host, port, on_request=self.respond, task_status=task_status)

    def watch_hub(self, hub: Hub, name: str = "hub") -> None:
        """Report the figures of a hub, too, under that name; ValueError for one that is taken."""
        if self._hubs.setdefault(name, hub) is not hub:
            raise ValueError(f"another hub is watched under the name {name!r} already")

    def forget_hub(self, name: str = "hub") -> None:
        """Report them no more."""
        self._hubs.pop(name, None)

    # -- what a server tells -------------------------------------------------------------------

    def on_started(self, server: Server) -> None:
        """Begin to look at a server."""
        if not self._servers:
            self._look(trio.current_time())
        self._servers[server] = None

    def on_stopped(self, server: Server) -> None:
        """Look at it no more."""
        del self._servers[server]
        if not self._servers and self._timer is not None:
            self._timer.cancel()

    def _look(self, due: float) -> None:
        now = trio.current_time()
        self._delay.observe(max(0.0, now - due))
        due = now + LOOK_EVERY
        self._timer = current_poller().timers.call_at(due, lambda: self._look(due))

    def on_opened(self, connection: Client) -> None:
        """Count a connection, and the round trips of its pings."""
        self._handshakes["101"] += 1
        self._opened[connection] = trio.current_time()
        if isinstance(connection, Connection):
            connection.add_pong_callback(self._count_rtt)

    def _on_pong(self, _connection: Connection, _payload: bytes, rtt: float | None) -> None:
        if rtt is not None:
            self._rtt.observe(rtt)

    def on_ended(self, connection: Client) -> None:
        """Count its end, and keep what it moved."""
        seconds = trio.current_time() - self._opened.pop(connection)
        self._lifetimes[bisect_left(LIFETIMES, seconds)] += 1
        self._lived += seconds
        closure = connection.closure
        _count(self._closes, "none" if closure is None else str(int(closure.code)))
        if isinstance(connection, Connection):
            self._ended.add(connection)

    def on_response(self, request: Request | None, remote: SocketAddress, status: int) -> None:
        """Count an answer other than 101."""
        _count(self._handshakes, str(status))

    def on_lost(self, remote: SocketAddress, why: str) -> None:
        """Count a client that got none."""
        self._handshakes["lost"] += 1

    # -- what is looked at when somebody reads ----------------------------------------------------

    def now(self) -> Iterator[Metric]:
        """What servers and hubs say of this moment."""
        yield _gauge("hubws_connections", "Open connections.", len(self._opened))
        handshaking = sum(server.statistics().handshaking for server in self._servers)
        yield _gauge("hubws_handshaking", "Opening handshakes under way.", handshaking)
        yield from self._ends()
        yield from self._connections(Tally.of(self._opened))
        yield from self._figures_of_hubs()

    def _ends(self) -> Iterator[Metric]:
        handshakes = CounterMetricFamily(
            "hubws_handshakes",
            "Answers to clients: 101, another status, or lost before.",
            labels=["result"],
        )
        for result, count in self._handshakes.items():
            handshakes.add_metric([result], count)
        closes = CounterMetricFamily(
            "hubws_closes", "Connections that ended, by close code.", labels=["code"]
        )
        for code, count in self._closes.items():
            closes.add_metric([code], count)
        bounds = [*map(str, LIFETIMES), "+Inf"]
        lifetimes = HistogramMetricFamily(
            "hubws_connection_seconds",
            "How long connections lived.",
            buckets=list(zip(bounds, accumulate(self._lifetimes), strict=True)),
            sum_value=self._lived,
        )
        yield from (handshakes, closes, lifetimes)

    def _connections(self, open_ones: Tally) -> Iterator[Metric]:
        for name, what, of in (
            ("received_messages", "Whole messages received.", "messages_received"),
            ("received_bytes", "Bytes received, as they came.", "bytes_received"),
            ("sent_messages", "Messages that the socket has taken.", "messages_sent"),
            ("sent_bytes", "Bytes that the socket has taken.", "bytes_sent"),
        ):
            total = getattr(self._ended, of) + getattr(open_ones, of)
            yield CounterMetricFamily(f"hubws_{name}", what, total)
        dropped = CounterMetricFamily(
            "hubws_dropped_messages", "Messages that an outbox left out.", labels=["policy"]
        )
        for policy, count in (self._ended.dropped + open_ones.dropped).items():
            dropped.add_metric([policy], count)
        yield dropped
        yield _gauge("hubws_outbox_messages", "Messages to be sent.", open_ones.outbox_messages)
        yield _gauge("hubws_outbox_bytes", "Bytes to be sent.", open_ones.outbox_bytes)
        yield _gauge("hubws_outbox_bytes_max", "Those of one connection.", open_ones.largest_outbox)
        yield _gauge("hubws_stalled", "Connections whose peer takes nothing.", open_ones.stalled)

    def _figures_of_hubs(self) -> Iterator[Metric]:
        members = GaugeMetricFamily("hubws_hub_members", "Members of a hub.", labels=["hub"])
        topics = GaugeMetricFamily("hubws_hub_topics", "Topics with members.", labels=["hub"])
        broadcasts = CounterMetricFamily(
            "hubws_hub_broadcasts", "Messages broadcast by a hub.", labels=["hub"]
        )
        sent = CounterMetricFamily("hubws_hub_sent", "Those queued for members.", labels=["hub"])
        lost = CounterMetricFamily(
            "hubws_hub_not_sent", "Those that were not.", labels=["hub", "policy", "result"]
        )
        for name, hub in self._hubs.items():
            figures = hub.statistics()
            members.add_metric([name], figures.members)
            topics.add_metric([name], figures.topics)
            broadcasts.add_metric([name], figures.broadcasts)
            sent.add_metric([name], figures.sent)
            for policy, counters in figures.by_policy.items():
                for result, count in _results(counters):
                    lost.add_metric([name, policy.value, result], count)
        yield from (members, topics, broadcasts, sent, lost)
        yield from self._figures_of_links()

    def _figures_of_links(self) -> Iterator[Metric]:
        linked = GaugeMetricFamily(
            "hubws_backplane_linked", "Whether a hub reaches the others.", labels=["hub"]
        )
        lag = GaugeMetricFamily(
            "hubws_backplane_lag_seconds", "How long its newest heartbeat took.", labels=["hub"]
        )
        shared = CounterMetricFamily(
            "hubws_backplane_messages", "Broadcasts between hubs.", labels=["hub", "result"]
        )
        gaps = CounterMetricFamily(
            "hubws_backplane_gaps", "Gaps in histories, as told.", labels=["hub"]
        )
        for name, hub in self._hubs.items():
            if isinstance(hub, LinkedHub):
                figures = hub.link_statistics()
                linked.add_metric([name], figures.is_linked)
                lag.add_metric([name], figures.lag)
                for result in ("sent", "received", "unshared", "refused", "malformed"):
                    shared.add_metric([name, result], getattr(figures, result))
                gaps.add_metric([name], figures.gaps)
        yield from (linked, lag, shared, gaps)


class _Now(Collector):
    """What of the metrics is looked at when somebody reads them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.now()


def _count(counter: Counter[str], label: str) -> None:
    if label not in counter and len(counter) >= MAX_LABELS:
        label = "other"
    counter[label] += 1


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value)


def _results(counters: PolicyCounters) -> Iterator[tuple[str, int]]:
    yield "dropped", counters.dropped
    yield "disconnected", counters.disconnected


async def _hang_up(_connection: Connection) -> None:
    """Close who asks a server of metrics for a WebSocket."""
