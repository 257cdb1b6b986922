"""Taking over a WebSocket that another library has opened."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any, Unpack

from ..connection.callbacks import NO_CALLBACKS, Callbacks
from ..connection.settings import Settings, SettingsArguments
from ..protocol.http import Request
from .bridge import EmbeddedConnection, open_bridge
from .echo import Echo
from .owning import owned


@contextlib.asynccontextmanager
async def adopt(
    websocket: Any,
    *,
    callbacks: Callbacks = NO_CALLBACKS,
    echo: Echo | None = None,
    user: Any = None,
    **settings: Unpack[SettingsArguments],
) -> AsyncIterator[EmbeddedConnection]:
    """Use a WebSocket of trio-websocket as a connection, for as long as the block runs.

        async with hubws.embedding.adopt(websocket) as connection:
            async for message in connection:
                await connection.send(message)

    Args:
        websocket: a `trio_websocket.WebSocketConnection`, of either side. Don't use it beside the
            connection. `request.accept()`, which gives it, raises that library's own
            ConnectionClosed for a client that has gone.
        callbacks: functions to call as things happen; with `on_message`, messages go there.
        echo: measure round-trip times by messages, not by pings.
        user: what `connection.user` is to be.
        **settings: see `Settings`; compression is the other library's affair.

    The connection is closed with 1000 when the block ends, with 1011 when it raises, and ended at
    once when it is cancelled. A ConnectionClosed that leaves the block goes no further. TypeError for
    what can't be adopted.

    """
    library = sys.modules.get("trio_websocket")
    if library is None or not isinstance(websocket, library.WebSocketConnection):
        raise TypeError(f"adopt takes a WebSocketConnection of trio-websocket, not {websocket!r}")
    from .trio_websocket import TrioWebSocketPort  # noqa: PLC0415 - needs that library

    remote, local = _address(websocket, "remote"), _address(websocket, "local")
    path = websocket.path or "/"
    head = f"GET {path} HTTP/1.1\r\n\r\n".encode("latin-1", "replace")
    connection = open_bridge(
        TrioWebSocketPort(websocket),
        Settings(**settings),
        callbacks,
        echo=echo,
        remote=remote,
        local=local,
        subprotocol=websocket.subprotocol,
        request=None if websocket.is_client else Request("GET", path, "1.1", head),
        user=user,
    )
    async with owned(connection):
        yield connection


def _address(websocket: Any, side: str) -> tuple[str, int] | None:
    """An address as the socket module gives it, None where there is none, or no more."""
    try:
        endpoint = getattr(websocket, side)
        return str(endpoint.address), int(endpoint.port)
    except (OSError, AttributeError):
        return None
