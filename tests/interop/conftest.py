"""hubws at one end of a connection, another library at the other: both ways round, plain and TLS."""

from __future__ import annotations

import functools
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from types import ModuleType
from typing import TypeAlias

import pytest
import trio
import trio_websocket
import trustme
import websockets.sync.client
import websockets.sync.server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.typing import Subprotocol

import hubws

Message: TypeAlias = str | bytes
SECONDS = 20
"""After this, a call of the other library has failed."""

run_in_thread = functools.partial(trio.to_thread.run_sync, abandon_on_cancel=True)


class WebsocketsPeer:
    """A connection of the package websockets, whose calls block and so run in threads."""

    can_fragment = True

    def __init__(self, connection: websockets.sync.connection.Connection) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol

    async def send(self, message: Message | Sequence[Message]) -> None:
        await run_in_thread(self._connection.send, message)

    async def receive(self) -> Message:
        return await run_in_thread(self._connection.recv, SECONDS)

    async def ping(self, payload: bytes) -> bool:
        pong = await run_in_thread(self._connection.ping, payload)
        return await run_in_thread(pong.wait, SECONDS)

    async def close(self, code: int, reason: str) -> None:
        await run_in_thread(self._connection.close, code, reason)

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait for the end; the code and reason that came."""
        with pytest.raises(ConnectionClosed):
            await self.receive()
        return self._connection.close_code, self._connection.close_reason


class TrioWebsocketPeer:
    """A connection of trio-websocket."""

    can_fragment = False

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol

    async def send(self, message: Message) -> None:
        await self._connection.send_message(message)

    async def receive(self) -> Message:
        with trio.fail_after(SECONDS):
            return await self._connection.get_message()

    async def ping(self, payload: bytes) -> bool:
        with trio.fail_after(SECONDS):
            await self._connection.ping(payload)
        return True

    async def close(self, code: int, reason: str) -> None:
        await self._connection.aclose(code, reason)

    async def closed(self) -> tuple[int | None, str | None]:
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await self.receive()
        return caught.value.reason.code, caught.value.reason.reason


Peer: TypeAlias = WebsocketsPeer | TrioWebsocketPeer


def as_subprotocols(names: list[str]) -> list[Subprotocol] | None:
    """As websockets wants them."""
    return [Subprotocol(name) for name in names] or None


# -- clients of a hubws server ------------------------------------------------------------------


@asynccontextmanager
async def websockets_client(
    url: str, tls: ssl.SSLContext | None, subprotocols: list[str]
) -> AsyncIterator[Peer]:
    def connect() -> tuple[AbstractContextManager[object], ClientConnection]:
        context = websockets.sync.client.connect(
            url, ssl=tls, subprotocols=as_subprotocols(subprotocols)
        )
        return context, context.__enter__()

    context, connection = await run_in_thread(connect)
    try:
        yield WebsocketsPeer(connection)
    finally:
        await run_in_thread(context.__exit__, None, None, None)


@asynccontextmanager
async def trio_websocket_client(
    url: str, tls: ssl.SSLContext | None, subprotocols: list[str]
) -> AsyncIterator[Peer]:
    async with trio_websocket.open_websocket_url(
        url, ssl_context=tls, subprotocols=subprotocols
    ) as connection:
        yield TrioWebsocketPeer(connection)
        # When the server closed, its own closing may be cancelled before it closes the stream.
        await trio.aclose_forcefully(connection._stream)


# -- servers for a hubws client -----------------------------------------------------------------


@asynccontextmanager
async def websockets_server(
    tls: ssl.SSLContext | None, subprotocols: list[str]
) -> AsyncIterator[tuple[int, trio.MemoryReceiveChannel[Peer]]]:
    send_peer, receive_peer = trio.open_memory_channel[Peer](1)
    done = threading.Event()
    token = trio.lowlevel.current_trio_token()

    def handler(connection: websockets.sync.server.ServerConnection) -> None:
        trio.from_thread.run_sync(
            send_peer.send_nowait, WebsocketsPeer(connection), trio_token=token
        )
        done.wait(SECONDS)

    server = websockets.sync.server.serve(
        handler, "127.0.0.1", 0, ssl=tls, subprotocols=as_subprotocols(subprotocols)
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.socket.getsockname()[1], receive_peer
    finally:
        done.set()
        await run_in_thread(server.shutdown)  # it waits for the peer, who is in this thread
        await run_in_thread(thread.join, SECONDS)


@asynccontextmanager
async def trio_websocket_server(
    tls: ssl.SSLContext | None, subprotocols: list[str]
) -> AsyncIterator[tuple[int, trio.MemoryReceiveChannel[Peer]]]:
    send_peer, receive_peer = trio.open_memory_channel[Peer](1)
    done = trio.Event()

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        proposed = [name for name in subprotocols if name in request.proposed_subprotocols]
        connection = await request.accept(subprotocol=proposed[0] if proposed else None)
        send_peer.send_nowait(TrioWebsocketPeer(connection))
        await done.wait()

    async with trio.open_nursery() as nursery:
        serve = functools.partial(
            trio_websocket.serve_websocket, handler, "127.0.0.1", 0, ssl_context=tls
        )
        server = await nursery.start(serve)
        try:
            yield server.port, receive_peer
        finally:
            done.set()
            nursery.cancel_scope.cancel()


CLIENTS = {"websockets": websockets_client, "trio-websocket": trio_websocket_client}
SERVERS = {"websockets": websockets_server, "trio-websocket": trio_websocket_server}

# -- pairs --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["socket", "tls"])
def contexts(
    request: pytest.FixtureRequest, authority: trustme.CA
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Of server and client."""
    if request.param == "socket":
        return None, None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture
def codecs(both_codecs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Each twin of the codec, down to the connection's short cut."""
    monkeypatch.setattr("hubws.connection.engine.encode_message", both_codecs.encode_message)
    return both_codecs


Pair: TypeAlias = Callable[..., AbstractAsyncContextManager[tuple[hubws.Connection, Peer]]]


@pytest.fixture(params=["client", "server"])
def hubws_is(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["websockets", "trio-websocket"])
def library(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def compression(request: pytest.FixtureRequest) -> hubws.Deflate | None:
    """What hubws wants; off, unless a test says otherwise."""
    return getattr(request, "param", None)


@pytest.fixture
def open_pair(hubws_is: str, library: str, contexts, codecs: ModuleType, compression) -> Pair:
    """Connect hubws and another library for as long as a block runs."""
    server_tls, client_tls = contexts
    scheme = "ws" if client_tls is None else "wss"

    @asynccontextmanager
    async def as_server(
        ours: list[str], theirs: list[str]
    ) -> AsyncIterator[tuple[hubws.Connection, Peer]]:
        send_connection, receive_connection = trio.open_memory_channel[hubws.Connection](1)

        async def handler(connection: hubws.Connection) -> None:
            send_connection.send_nowait(connection)
            await connection.wait_closed()

        async with trio.open_nursery() as nursery:
            serve = functools.partial(
                hubws.serve,
                handler,
                "127.0.0.1",
                0,
                ssl_context=server_tls,
                subprotocols=ours,
                compression=compression,
            )
            server = await nursery.start(serve)
            url = f"{scheme}://localhost:{server.port}/"
            async with CLIENTS[library](url, client_tls, theirs) as peer:
                yield await receive_connection.receive(), peer
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def as_client(
        ours: list[str], theirs: list[str]
    ) -> AsyncIterator[tuple[hubws.Connection, Peer]]:
        async with SERVERS[library](server_tls, theirs) as (port, peers):
            url = f"{scheme}://localhost:{port}/"
            async with hubws.connect(
                url, ssl_context=client_tls, subprotocols=ours, compression=compression
            ) as connection:
                yield connection, await peers.receive()

    @asynccontextmanager
    async def open_pair(
        ours: Sequence[str] = (), theirs: Sequence[str] = ()
    ) -> AsyncIterator[tuple[hubws.Connection, Peer]]:
        with trio.fail_after(60):
            open_it = as_server if hubws_is == "server" else as_client
            async with open_it(list(ours), list(theirs)) as pair:
                yield pair

    return open_pair
