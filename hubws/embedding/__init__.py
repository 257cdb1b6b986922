"""Connections inside other people's programs: their streams, their WebSockets, their servers.

`accept` for a program with an HTTP server, `adopt` for WebSockets of trio-websocket, `asgi_app` and
`accept_asgi` for ASGI servers on trio. See `docs/embedding.md`.
"""

from .accept import accept
from .adopt import adopt
from .asgi import accept_asgi, asgi_app, bound_sends
from .bridge import Capabilities, EmbeddedConnection
from .echo import Echo
from .quart import asgi_of

__all__ = [
    "Capabilities",
    "Echo",
    "EmbeddedConnection",
    "accept",
    "accept_asgi",
    "adopt",
    "asgi_app",
    "asgi_of",
    "bound_sends",
]
