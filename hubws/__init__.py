"""hubws: a concurrent-read/write WebSocket connection manager on trio.

The layers, each importing only from those above it:

    errors, native          what can go wrong; which twin of the native code runs
    protocol/               bytes in, events out: RFC 6455, no I/O
    transport/              moving bytes on trio
    connection/             one peer
    server/  client/        listening and dialling
    embedding/              connections inside other programs; not imported here
    hub/                    many peers
    backplane/              hubs beyond one process (Redis); not imported here
    proxy/                  clients in front, backends behind; not imported here
    testing/                what applications' tests use; not imported here
    metrics/                figures for Prometheus; not imported here
    pages/                  pages for browsers; not imported here
    cli/                    the command line; not imported here
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .client.backoff import Backoff
from .client.connect import connect
from .client.retrying import worth_retrying
from .client.tls import TLS
from .connection.callbacks import Callbacks
from .connection.connection import Connection
from .connection.prepared import Prepared
from .connection.queue import Policy
from .connection.rate_limit import RateLimit, TokenBucket
from .connection.rtt import RoundTripTimes
from .connection.settings import Settings
from .connection.statistics import ConnectionStatistics
from .connection.streaming import MessageStream
from .errors import (
    ConnectionClosed,
    HandshakeError,
    HandshakeRefused,
    HandshakeTimeout,
    HubwsError,
    LocalProtocolError,
    NotAllowed,
    ProtocolError,
    ProxyError,
    RemoteProtocolError,
    RequestFailed,
    UpgradeRefused,
)
from .hub.backplane import BackplaneAway, LocalBackplane
from .hub.delivery import Delivery, PolicyCounters
from .hub.envelope import Envelope, unwrap, wrap
from .hub.feed import Feed
from .hub.histogram import Histogram
from .hub.history import History, HistoryStatistics, Position, PositionLost, Retention
from .hub.hub import Hub, HubStatistics
from .hub.open import open_hub
from .hub.presence import PresenceEvent, PresenceSnapshot, Present
from .hub.watch import Loss
from .protocol.deflate import Deflate, DeflateParameters
from .protocol.frames import CloseCode, Frame, Opcode
from .protocol.http import Headers, Request, Response
from .protocol.state import Close, Closure, State
from .server.authentication import basic_auth, bearer_auth
from .server.listeners import inherited_listeners, take_over
from .server.observer import Observer
from .server.serve import serve
from .server.server import Server, ServerStatistics
from .transport.tcp_info import TcpInfo

if TYPE_CHECKING:
    from .client.offline import Offline
    from .client.reconnect import Connecting, Connections, Lost, Opened, Waiting, reconnect
    from .client.resuming import Client, ClientStatistics, Resumption, open_client
    from .connection.exchange import Answer, Call, Failure
    from .connection.request_reader import OpenRequests, open_requests
    from .connection.requests import Requests, RequestStatistics, requests_of
    from .hub.acknowledgements import Acknowledgements, broadcast_with_acknowledgements
    from .hub.alarms import AlarmKind, MonitorAlarm
    from .hub.link_events import LinkEvent, LinkEventKind, LinkStatistics
    from .hub.linked import LinkedHub
    from .hub.monitor import Monitor, open_monitor
    from .hub.monitored import MonitoredConnection, MonitorSample, MonitorTotal
    from .hub.resumption import TopicLost, TopicPositions, serve_recovery
    from .hub.roster import Roster, presence_from_json
    from .server.access_log import AccessLog
    from .server.workers import Worker, listening_sockets, run_workers

__version__ = "0.1.0"

LATER = {
    "client.offline": "Offline",
    "client.reconnect": "Connecting Connections Lost Opened Waiting reconnect",
    "client.resuming": "Client ClientStatistics Resumption open_client",
    "connection.exchange": "Answer Call Failure",
    "connection.request_reader": "OpenRequests open_requests",
    "connection.requests": "Requests RequestStatistics requests_of",
    "hub.acknowledgements": "Acknowledgements broadcast_with_acknowledgements",
    "hub.alarms": "AlarmKind MonitorAlarm",
    "hub.link_events": "LinkEvent LinkEventKind LinkStatistics",
    "hub.linked": "LinkedHub",
    "hub.monitor": "Monitor open_monitor",
    "hub.monitored": "MonitoredConnection MonitorSample MonitorTotal",
    "hub.resumption": "TopicLost TopicPositions serve_recovery",
    "hub.roster": "Roster presence_from_json",
    "server.access_log": "AccessLog",
    "server.workers": "Worker listening_sockets run_workers",
}
"""Modules whose names are imported when they are first asked for: most programs use few of them."""

__all__ = [
    "TLS",
    "AccessLog",
    "Acknowledgements",
    "AlarmKind",
    "Answer",
    "Backoff",
    "BackplaneAway",
    "Call",
    "Callbacks",
    "Client",
    "ClientStatistics",
    "Close",
    "CloseCode",
    "Closure",
    "Connecting",
    "Connection",
    "ConnectionClosed",
    "ConnectionStatistics",
    "Connections",
    "Deflate",
    "DeflateParameters",
    "Delivery",
    "Envelope",
    "Failure",
    "Feed",
    "Frame",
    "HandshakeError",
    "HandshakeRefused",
    "HandshakeTimeout",
    "Headers",
    "Histogram",
    "History",
    "HistoryStatistics",
    "Hub",
    "HubStatistics",
    "HubwsError",
    "LinkEvent",
    "LinkEventKind",
    "LinkStatistics",
    "LinkedHub",
    "LocalBackplane",
    "LocalProtocolError",
    "Loss",
    "Lost",
    "MessageStream",
    "Monitor",
    "MonitorAlarm",
    "MonitorSample",
    "MonitorTotal",
    "MonitoredConnection",
    "NotAllowed",
    "Observer",
    "Offline",
    "Opcode",
    "OpenRequests",
    "Opened",
    "Policy",
    "PolicyCounters",
    "Position",
    "PositionLost",
    "Prepared",
    "PresenceEvent",
    "PresenceSnapshot",
    "Present",
    "ProtocolError",
    "ProxyError",
    "RateLimit",
    "RemoteProtocolError",
    "Request",
    "RequestFailed",
    "RequestStatistics",
    "Requests",
    "Response",
    "Resumption",
    "Retention",
    "Roster",
    "RoundTripTimes",
    "Server",
    "ServerStatistics",
    "Settings",
    "State",
    "TcpInfo",
    "TokenBucket",
    "TopicLost",
    "TopicPositions",
    "UpgradeRefused",
    "Waiting",
    "Worker",
    "basic_auth",
    "bearer_auth",
    "broadcast_with_acknowledgements",
    "connect",
    "inherited_listeners",
    "listening_sockets",
    "open_client",
    "open_hub",
    "open_monitor",
    "open_requests",
    "presence_from_json",
    "reconnect",
    "requests_of",
    "run_workers",
    "serve",
    "serve_recovery",
    "take_over",
    "unwrap",
    "worth_retrying",
    "wrap",
]

_MODULES = {name: module for module, names in LATER.items() for name in names.split()}


if not TYPE_CHECKING:  # type checkers would take any name for one of these

    def __getattr__(name: str) -> Any:
        """What `LATER` says."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
