"""hubws/embedding/adopt.py: WebSockets of trio-websocket, without what is wrong with them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing
import trio_websocket

import hubws
from hubws.embedding.adopt import adopt
from hubws.embedding.bridge import EmbeddedConnection

Body: TypeAlias = Callable[[EmbeddedConnection], Awaitable[object]]


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Callable[..., Awaitable[str]]:
    """Starts a server of trio-websocket; returns its URL."""

    async def start(body: Body, subprotocol: str | None = None, **options: Any) -> str:
        async def handler(request: trio_websocket.WebSocketRequest) -> None:
            websocket = await request.accept(subprotocol=subprotocol)
            async with adopt(websocket, **options) as connection:
                await body(connection)

        server = await nursery.start(
            partial(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        )
        return f"ws://127.0.0.1:{server.port}"

    return start


Serve: TypeAlias = Callable[..., Awaitable[str]]


async def test_messages_pings_and_what_it_is(serve: Serve):
    seen: list[EmbeddedConnection] = []

    async def body(connection: EmbeddedConnection) -> None:
        seen.append(connection)
        assert await connection.ping() > 0
        await echo(connection)

    url = await serve(body, subprotocol="chat")
    async with hubws.connect(url + "/a%20b?c", subprotocols=["chat"], proxy=None) as client:
        for message in ("text", b"bytes", "", b"", "x" * 1_000_000):
            await client.send(message)
            assert await client.receive() == message
        assert await client.ping() > 0
        (ours,) = seen
        assert ours.rtt.samples == 1
        assert (ours.path, ours.subprotocol, ours.is_client) == ("/a b", "chat", False)
        assert ours.remote == client.local
        assert ours.local == client.remote
        assert ours.capabilities.ping
        assert ours.capabilities.abort
    with trio.fail_after(30):
        await ours.wait_closed()
    assert ours.close_code == 1000
    assert ours.closure is not None
    assert ours.closure.normal


async def test_of_a_client(nursery: trio.Nursery):
    server = await nursery.start(hubws.serve, echo, "127.0.0.1", 0)
    async with trio_websocket.open_websocket_url(f"ws://127.0.0.1:{server.port}/") as websocket:
        async with adopt(websocket) as connection:
            assert connection.is_client
            await connection.send("hello")
            assert await connection.receive() == "hello"
            assert await connection.ping() > 0
        assert connection.close_code == 1000
        assert connection.closure is not None
        assert connection.closure.normal


@pytest.mark.parametrize("code", [1000, 1001, 4000, None])
async def test_the_peer_closes(serve: Serve, code: int | None):
    ends: list[hubws.Closure | None] = []

    async def body(connection: EmbeddedConnection) -> None:
        await connection.wait_closed()
        ends.append(connection.closure)

    async with hubws.connect(await serve(body), proxy=None) as client:
        await client.aclose(code, "bye" if code else "")
        assert client.close_code == (1005 if code is None else code)
    (closure,) = ends
    assert closure is not None
    assert (closure.code, closure.reason) == (code or 1005, "bye" if code else "")


async def test_this_side_closes(serve: Serve):
    async def body(connection: EmbeddedConnection) -> None:
        await connection.send("first")
        await connection.aclose(4001, "enough")
        assert connection.closure is not None
        assert connection.closure.clean
        assert connection.closure.received is not None
        assert connection.closure.received.code == 4001

    async with hubws.connect(await serve(body), proxy=None) as client:
        assert await client.receive() == "first"
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (4001, "enough")


async def test_a_lost_connection_ends_what_waits_and_not_the_server(serve: Serve):
    """There a ping at the end hangs for ever, and ConnectionClosed ends the whole server."""
    ready = trio.Event()
    ended = trio.Event()

    async def body(connection: EmbeddedConnection) -> None:
        ready.set()
        try:
            await connection.ping()
        finally:
            ended.set()

    url = await serve(body)
    async with open_silent(url):
        with trio.fail_after(30):
            await ready.wait()
    with trio.fail_after(30):
        await ended.wait()
    async with hubws.connect(url, proxy=None):  # it still serves
        pass


@asynccontextmanager
async def open_silent(url: str) -> AsyncIterator[trio.SocketStream]:
    """A client that shakes hands and then neither reads nor writes; cut at the end."""
    port = int(url.rpartition(":")[2])
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", port))
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock.dup()))
        await stream.send_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += await stream.receive_some(1)
        async with stream:
            yield stream


async def test_a_cancelled_send_sends_all_or_nothing(serve: Serve):
    """There it leaves a torn frame, in which the next message is lost."""
    large = b"x" * 4_000_000
    sent: list[bytes] = []
    go_on = trio.Event()

    async def body(connection: EmbeddedConnection) -> None:
        is_blocked = False
        while not is_blocked:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_one, connection)
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
            is_blocked = scope.cancelled_caught
        go_on.set()
        await connection.send("next")

    async def send_one(connection: EmbeddedConnection) -> None:
        await connection.send(large)
        sent.append(large)

    url = await serve(body)
    async with hubws.connect(url, proxy=None, max_message_size=10**7) as client:
        client._transport.pause()
        with trio.fail_after(30):
            await go_on.wait()
        client._transport.resume()
        received = [await client.receive() for _ in range(len(sent) + 1)]
        assert received == [*sent, "next"]


async def test_who_takes_nothing_is_cut_off(serve: Serve):
    ends: list[hubws.Closure | None] = []
    ended = trio.Event()

    async def body(connection: EmbeddedConnection) -> None:
        try:
            while True:
                await connection.send(b"x" * 1_000_000)
        finally:
            ends.append(connection.closure)
            ended.set()

    async with open_silent(await serve(body, write_timeout=0.1)):
        with trio.fail_after(30):
            await ended.wait()
    (closure,) = ends
    assert closure is not None
    assert isinstance(closure.error, TimeoutError)
    assert closure.undelivered > 0


async def test_policies_of_a_hub(serve: Serve):
    joined = trio.Event()
    async with hubws.open_hub() as hub:

        async def body(connection: EmbeddedConnection) -> None:
            async with hub.member(connection, "prices"):
                joined.set()
                await connection.wait_closed()

        async with hubws.connect(await serve(body), proxy=None) as client:
            with trio.fail_after(30):
                await joined.wait()
            for price in range(100):
                hub.broadcast(f"{price}", topic="prices", policy="latest")
            assert await client.receive() == "99"


async def test_cancelled_from_outside():
    opened: list[EmbeddedConnection] = []
    ready = trio.Event()

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        async with adopt(await request.accept()) as connection:
            opened.append(connection)
            ready.set()
            await connection.receive()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        )
        async with open_silent(f"ws://127.0.0.1:{server.port}") as stream:
            await ready.wait()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(30):
                await opened[0].wait_closed()
                assert await stream.receive_some() == b""
    assert opened[0].close_code == 1006


async def test_what_can_not_be_adopted():
    with pytest.raises(TypeError, match="takes a WebSocketConnection of trio-websocket, not 'a'"):
        async with adopt("a"):
            pass


async def test_member_of_a_hub(nursery: trio.Nursery):
    """Beside a connection of hubws' own: topics, broadcasts, round-trip times, and the end."""
    async with hubws.open_hub() as hub:
        joined = trio.Event()

        async def handler(request: trio_websocket.WebSocketRequest) -> None:
            async with hub.adopt(await request.accept(), "news", user="ada") as connection:
                joined.set()
                async for message in connection:
                    hub.broadcast(message, topic="news")

        async def own(connection: hubws.Connection) -> None:
            async with hub.member(connection, "news", user="mo"):
                await connection.wait_closed()

        theirs = await nursery.start(
            partial(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        )
        ours = await nursery.start(partial(hubws.serve, own, "127.0.0.1", 0))
        async with (
            hubws.connect(f"ws://127.0.0.1:{ours.port}/", proxy=None) as mo,
            hubws.connect(f"ws://127.0.0.1:{theirs.port}/", proxy=None) as ada,
        ):
            with trio.fail_after(10):
                await joined.wait()
                while len(hub.members("news")) < 2:
                    await trio.testing.wait_all_tasks_blocked(0.01)
                await ada.send("hello, both")
                assert [await mo.receive(), await ada.receive()] == ["hello, both"] * 2
                [adopted] = hub.connections_of("ada")
                assert 0 < await adopted.ping() < 10
        with trio.fail_after(10):
            while hub.connections:
                await trio.testing.wait_all_tasks_blocked(0.01)


async def test_hub_that_does_not_let_it_in(nursery: trio.Nursery):
    def nobody(connection: hubws.Connection, topic: str) -> bool:
        return False

    async with hubws.open_hub(may_join=nobody) as hub:
        refused = trio.Event()

        async def handler(request: trio_websocket.WebSocketRequest) -> None:
            with pytest.raises(hubws.NotAllowed):
                async with hub.adopt(await request.accept(), "news"):
                    raise AssertionError("it was let in")
            refused.set()

        server = await nursery.start(
            partial(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        )
        async with hubws.connect(f"ws://127.0.0.1:{server.port}/", proxy=None) as client:
            with trio.fail_after(10):
                await client.wait_closed()
                await refused.wait()
        assert client.close_code == 1011
        assert not hub.connections
