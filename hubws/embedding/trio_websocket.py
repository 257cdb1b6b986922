"""A WebSocket of trio-websocket as a port.

Only what that library documents is used, but for one name: the stream, to end it at once.
"""

from __future__ import annotations

from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from ..protocol.frames import CloseCode
from .bridge import Capabilities, Ended


class TrioWebSocketPort:
    """See `Port`.

    What is wrong with the library stays below this: a send is cancelled only together with the
    connection, so that no torn frame is followed by another; a ping that waits for ever is given up
    when the connection ends; a closing handshake is bounded by the connection's `close_timeout`.
    """

    capabilities = Capabilities()

    def __init__(self, websocket: WebSocketConnection) -> None:
        self._websocket = websocket
        self.is_client: bool = websocket.is_client
        self._closing: trio.Event | None = None  # set when the closing handshake is over

    async def receive(self) -> str | bytes:
        """Wait for the next message."""
        try:
            message: str | bytes = await self._websocket.get_message()
        except ConnectionClosed as closed:
            reason: Any = closed.reason
            if self._closing is not None:  # what is said until it is over is only our own code
                await self._closing.wait()
                reason = self._websocket.closed
            if reason is None:
                raise Ended(CloseCode.ABNORMAL) from None
            raise Ended(reason.code, reason.reason or "") from None
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        await self._websocket.send_message(message)

    async def ping(self, payload: bytes) -> None:
        """Ping the peer and wait for its pong."""
        await self._websocket.ping(payload)

    async def pong(self, payload: bytes) -> None:
        """Send a pong."""
        await self._websocket.pong(payload)

    async def close(self, code: int | None, reason: str) -> None:
        """Close, and wait for the peer's close frame."""
        if self._websocket.closed is not None:
            return
        self._closing = trio.Event()
        await self._websocket.aclose(CloseCode.NORMAL if code is None else code, reason or None)
        self._closing.set()

    async def abort(self) -> None:
        """Close the stream, which the library offers only at the end of a closing handshake."""
        await trio.aclose_forcefully(self._websocket._stream)
