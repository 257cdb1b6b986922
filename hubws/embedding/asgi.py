"""WebSockets in ASGI servers that run on trio, such as Hypercorn's trio worker.

https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias, Unpack

import trio

from ..connection.callbacks import NO_CALLBACKS, Callbacks
from ..connection.settings import Settings, SettingsArguments
from ..errors import HandshakeError, UpgradeRefused
from ..protocol.frames import CloseCode
from ..protocol.handshake import Origins, check_origin, choose_subprotocol, upgrade_required
from ..protocol.http import HeaderPairs, Headers, Request, Response
from ..server.accept import Handler, handle
from .bridge import Capabilities, EmbeddedConnection, Ended, open_bridge
from .echo import Echo
from .owning import owned

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class AsgiPort:
    """See `Port`; for a WebSocket that was accepted."""

    is_client = False
    capabilities = Capabilities(
        ping=False, pong=False, buffer_size=False, abort=False, close_code=False
    )

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._receiving = trio.CancelScope()
        self._ended: Ended | None = None

    async def receive(self) -> str | bytes:
        """Wait for the next message."""
        message: Message | None = None
        if self._ended is None:
            with trio.CancelScope() as self._receiving:
                message = await self._receive()
        if message is None:
            assert self._ended is not None
            raise self._ended
        if message["type"] == "websocket.receive":
            text: str | None = message.get("text")
            data: bytes = message.get("bytes") or b""
            return data if text is None else text
        code = message.get("code", CloseCode.NO_STATUS)
        self._ended = Ended(code, message.get("reason") or "")
        raise self._ended

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        kind = "text" if isinstance(message, str) else "bytes"
        await self._send({"type": "websocket.send", kind: message})

    async def ping(self, payload: bytes) -> None:
        """There is no such thing in ASGI."""
        raise NotImplementedError("ASGI has neither pings nor pongs; see `capabilities`")

    pong = ping

    async def close(self, code: int | None, reason: str) -> None:
        """Close. How the peer answers is not told, so that it counts as agreed."""
        if self._ended is None:
            code = CloseCode.NORMAL if code is None else code
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
            self._ended = Ended(code)  # once it is sent: the application may return then
            self._receiving.cancel()

    async def abort(self) -> None:
        """Nothing: the server ends the connection when the application has returned."""


@contextlib.asynccontextmanager
async def accept_asgi(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    subprotocols: Sequence[str] = (),
    origins: Origins = "same",
    headers: HeaderPairs = (),
    callbacks: Callbacks = NO_CALLBACKS,
    echo: Echo | None = None,
    user: Any = None,
    **settings: Unpack[SettingsArguments],
) -> AsyncIterator[EmbeddedConnection]:
    """Accept a WebSocket in an ASGI application on trio, and use it while the block runs.

    In a framework whose WebSocket has these three, such as Starlette and FastAPI, before `accept`:

        async with hubws.embedding.accept_asgi(ws.scope, ws.receive, ws.send) as connection:
            async for message in connection:
                await connection.send(message)

    Args:
        scope, receive, send: what ASGI calls applications with.
        subprotocols, origins, headers: as for `serve`.
        callbacks: functions to call as things happen; with `on_message`, messages go there.
        echo: measure round-trip times by messages: ASGI has no pings.
        user: what `connection.user` is to be.
        **settings: see `Settings`; compression is the server's affair. Without `echo` there is no
            keepalive.

    The connection is closed with 1000 when the block ends, and with 1011 when it raises. A
    ConnectionClosed that leaves the block goes no further. Raises UpgradeRefused, after answering, for
    an Origin that may not connect, and HandshakeError when the WebSocket does not begin here.
    `connection.capabilities` says what ASGI can't do.

    """
    checked = Settings(**settings)
    opening = await receive()
    if opening["type"] != "websocket.connect":
        raise HandshakeError(
            f"websocket.connect should come first, not {opening['type']}: the client has gone, or "
            "the WebSocket has been accepted already"
        )
    request = request_of(scope)
    try:
        lines = request.headers
        check_origin(lines, origins, is_secure=scope.get("scheme") == "wss")
        subprotocol = choose_subprotocol(lines, subprotocols)
    except UpgradeRefused as refused:
        await _refuse(scope, send, refused.response)
        raise
    more = [(name.lower().encode(), value.encode("latin-1")) for name, value in Headers(headers)]
    await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": more})
    connection = open_bridge(
        AsgiPort(receive, send),
        checked,
        callbacks,
        echo=echo,
        remote=_address(scope.get("client")),
        local=_address(scope.get("server")),
        subprotocol=subprotocol,
        request=request,
        user=user,
    )
    async with owned(connection):
        yield connection


def asgi_app(handler: Handler, **options: Any) -> AsgiApp:
    """An ASGI application for servers on trio: runs a handler for each WebSocket.

        app = hubws.embedding.asgi_app(chat)  # hypercorn --worker-class trio module:app

    Args:
        handler: as for `serve`: when it raises, its connection is closed with 1011, and all else
            goes on.
        **options: as for `accept_asgi`.

    Plain HTTP requests are answered with 426.

    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _respond(send, "http", upgrade_required())
        else:
            try:
                async with accept_asgi(scope, receive, send, **options) as connection:
                    await handle(handler, connection)
            except HandshakeError:
                pass  # the client has gone, or was told

    return app


def bound_sends(listening: socket.socket, seconds: float) -> None:
    """Have the kernel break connections whose peers take nothing for so long (TCP_USER_TIMEOUT).

    For servers that can't give up a send by themselves, such as Hypercorn on trio.

    Args:
        listening: a listening socket of theirs; what they accept by it inherits it.
        seconds: how long, in seconds.

    Raises OSError where the system has no such thing.

    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


async def _live(receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def _refuse(scope: Scope, send: Send, response: Response) -> None:
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _respond(send, "websocket.http", response)
    else:  # the server makes 403 of it, whatever the code
        await send({"type": "websocket.close", "code": CloseCode.POLICY_VIOLATION})


async def _respond(send: Send, kind: str, response: Response) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": f"{kind}.response.start", "status": response.status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": response.body})


def request_of(scope: Scope) -> Request:
    """The opening handshake's request, as far as ASGI tells it."""
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string") or b""
    target = path + (b"?" + query if query else b"")
    lines = [b"%b: %b\r\n" % (name, value) for name, value in scope["headers"]]
    head = b"GET %b HTTP/1.1\r\n%b\r\n" % (target, b"".join(lines))
    return Request("GET", target.decode("latin-1"), "1.1", head)


def _address(pair: Any) -> tuple[str, int] | None:
    return None if not pair or pair[1] is None else (pair[0], pair[1])
