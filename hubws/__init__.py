"""hubws: a concurrent-read/write WebSocket connection manager on trio.

The layers, each importing only from those above it:

    errors, native          what can go wrong; which twin of the native code runs
    protocol/               bytes in, events out: RFC 6455, no I/O
    transport/              moving bytes on trio
    connection/             one peer
    server/  client/        listening and dialling
    hub/                    many peers
"""

from .client.connect import connect
from .connection.callbacks import Callbacks
from .connection.connection import Connection
from .connection.queue import Policy
from .connection.rtt import RoundTripTimes
from .connection.settings import Settings
from .connection.statistics import ConnectionStatistics
from .errors import (
    ConnectionClosed,
    HandshakeError,
    HandshakeRefused,
    HandshakeTimeout,
    HubwsError,
    LocalProtocolError,
    NotAllowed,
    ProtocolError,
    RemoteProtocolError,
    UpgradeRefused,
)
from .hub.delivery import Delivery, PolicyCounters
from .hub.hub import Hub, HubStatistics, open_hub
from .hub.prepared import Prepared
from .hub.watch import Loss, Watch
from .protocol.deflate import Deflate, DeflateParameters
from .protocol.frames import CloseCode, Frame, Opcode
from .protocol.http import Headers, Request, Response
from .protocol.state import Close, Closure, State
from .server.server import Server, ServerStatistics, serve

__version__ = "0.1.0"

__all__ = [
    "Callbacks",
    "Close",
    "CloseCode",
    "Closure",
    "Connection",
    "ConnectionClosed",
    "ConnectionStatistics",
    "Deflate",
    "DeflateParameters",
    "Delivery",
    "Frame",
    "HandshakeError",
    "HandshakeRefused",
    "HandshakeTimeout",
    "Headers",
    "Hub",
    "HubStatistics",
    "HubwsError",
    "LocalProtocolError",
    "Loss",
    "NotAllowed",
    "Opcode",
    "Policy",
    "PolicyCounters",
    "Prepared",
    "ProtocolError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "RoundTripTimes",
    "Server",
    "ServerStatistics",
    "Settings",
    "State",
    "UpgradeRefused",
    "Watch",
    "connect",
    "open_hub",
    "serve",
]
