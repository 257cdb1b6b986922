"""hubws/embedding/asgi.py: WebSockets of Hypercorn on trio, alone and in other frameworks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import pytest
import quart
import trio
from fastapi import FastAPI
from hypercorn.config import Config, Sockets
from hypercorn.trio import serve as hypercorn_serve
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import hubws
from hubws.embedding.asgi import (
    AsgiApp,
    Message,
    Receive,
    Scope,
    Send,
    accept_asgi,
    asgi_app,
    bound_sends,
)
from hubws.embedding.bridge import EmbeddedConnection
from hubws.embedding.echo import Echo
from hubws.embedding.quart import asgi_of
from tests.embedding.test_adopt import echo, open_silent
from tests.faults.cancelling import Canceller, cancel_everywhere

ServeApp: TypeAlias = Callable[..., Awaitable[str]]


class BoundConfig(Config):
    """Sockets from which connections are cut whose peers take nothing for 0.3 seconds."""

    def create_sockets(self) -> Sockets:
        sockets = super().create_sockets()
        for listening in sockets.insecure_sockets:
            bound_sends(listening, 0.3)
        return sockets


@pytest.fixture
async def serve_app(nursery: trio.Nursery) -> ServeApp:
    """Has Hypercorn serve an app; returns its URL."""

    async def start(app: Any) -> str:
        config = BoundConfig()
        config.bind = ["127.0.0.1:0"]
        config.errorlog = None
        config.graceful_timeout = 0.1
        binds = await nursery.start(partial(hypercorn_serve, app, config))
        return str(binds[0]).replace("http", "ws") + "/"

    return start


async def test_an_app_of_a_handler(serve_app: ServeApp):
    seen: list[hubws.Connection] = []

    async def handler(connection: hubws.Connection) -> None:
        seen.append(connection)
        await echo(connection)

    url = await serve_app(asgi_app(handler, subprotocols=["chat"], headers={"X-A": "b"}))
    async with hubws.connect(
        url + "a%20b?c", subprotocols=["chat"], headers={"Cookie": "d=e"}, proxy=None
    ) as client:
        for message in ("text", b"bytes", "", b"", "x" * 1_000_000):
            await client.send(message)
            assert await client.receive() == message
        assert client.subprotocol == "chat"
        assert client.response is not None
        assert client.response.headers["X-A"] == "b"
        (ours,) = seen
        assert (ours.path, ours.subprotocol, ours.remote) == ("/a b", "chat", client.local)
        assert ours.request is not None
        assert ours.request.query == "c"
        assert ours.request.headers["Cookie"] == "d=e"
        assert isinstance(ours, EmbeddedConnection)
        assert not ours.capabilities.ping
        with pytest.raises(hubws.LocalProtocolError, match="lets nobody ping"):
            await ours.ping()
        with pytest.raises(hubws.LocalProtocolError, match="lets nobody ping"):
            ours.pong()
        async with hubws.open_hub(ping_interval=0.001) as hub, hub.member(ours):
            assert hub.ping() == 0  # it is passed over
    with trio.fail_after(30):
        await ours.wait_closed()
    assert not ours.capabilities.close_code
    assert ours.close_code == 1006  # so says Hypercorn of all peers that close


async def test_closing(serve_app: ServeApp):
    ends: list[hubws.Closure | None] = []

    async def handler(connection: hubws.Connection) -> None:
        if connection.path == "/close":
            await connection.send("last")
            await connection.aclose(4001, "enough")
        elif connection.path == "/wait":
            await connection.wait_closed()
        ends.append(connection.closure)

    url = await serve_app(asgi_app(handler))
    async with hubws.connect(url + "close", proxy=None) as client:
        assert await client.receive() == "last"
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (4001, "enough")
    async with hubws.connect(url + "return", proxy=None) as client:
        await client.wait_closed()
        assert client.close_code == 1000
    async with hubws.connect(url + "wait", proxy=None) as client:
        await client.aclose(4002)
    assert ends[0] is not None
    assert ends[0].sent is not None
    assert ends[0].sent.code == 4001


@pytest.mark.logs_errors
async def test_a_handler_that_raises(serve_app: ServeApp):
    async def handler(connection: hubws.Connection) -> None:
        raise ZeroDivisionError

    async with hubws.connect(await serve_app(asgi_app(handler)), proxy=None) as client:
        await client.wait_closed()
        assert client.close_code == 1011


async def test_who_may_not_connect_and_who_wants_no_websocket(serve_app: ServeApp):
    url = await serve_app(asgi_app(echo))
    with pytest.raises(hubws.HandshakeRefused) as refused:
        async with hubws.connect(url, origin="https://elsewhere.invalid", proxy=None):
            pass
    assert refused.value.response.status == 403
    port = int(url.split(":")[2].strip("/"))
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 426 ")


async def test_a_websocket_that_does_not_begin_here():
    scope = {"type": "websocket", "path": "/", "headers": []}

    async def receive() -> Message:
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    await asgi_app(echo)(scope, receive, send)
    with pytest.raises(hubws.HandshakeError, match="should come first, not websocket"):
        async with accept_asgi(scope, receive, send):
            pass


async def test_round_trip_times_by_echo(serve_app: ServeApp):
    measured: list[float] = []

    async def handler(connection: hubws.Connection) -> None:
        await connection.send("hello")
        measured.append(await connection.ping())
        assert connection.rtt.samples == 1
        assert await connection.receive() == "application"

    url = await serve_app(asgi_app(handler, echo=Echo()))
    async with hubws.connect(url, proxy=None) as client:
        question = await client.receive()
        assert isinstance(question, str)
        assert await client.receive() == "hello"
        await client.send(question.replace("ping", "pong"))
        await client.send("application")
        await client.wait_closed()
        assert client.close_code == 1000
    assert 0 < measured[0] < 10


async def test_a_stalled_peer_is_cut_off_by_the_kernel(serve_app: ServeApp):
    """Hypercorn's send can't be cancelled: ours ends, and the kernel ends that."""
    ended, cut = trio.Event(), trio.Event()

    async def handler(connection: hubws.Connection) -> None:
        try:
            while True:
                await connection.send(b"x" * 1_000_000)
        finally:
            ended.set()

    inner = asgi_app(handler, write_timeout=0.1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            try:
                await send(message)
            finally:
                if ended.is_set():
                    cut.set()

        await inner(scope, receive, watched)

    url = await serve_app(app)
    async with open_silent(url.rstrip("/")):
        with trio.fail_after(30):
            await ended.wait()
            assert not cut.is_set()
            await cut.wait()


class SlowServer:
    """An ASGI server that takes its time to send, with one client.

    Attributes: `sent`, the messages that it has sent.
    """

    def __init__(self, *, shielded: bool, messages: Iterable[Message] = ()) -> None:
        self.sent: list[Message] = []
        self._shielded = shielded
        self._gives, self._messages = trio.open_memory_channel[Message](10)
        for message in ({"type": "websocket.connect"}, *messages):
            self._gives.send_nowait(message)

    async def run(self, app: AsgiApp) -> None:
        """Have an application answer one client."""
        scope = {"type": "websocket", "path": "/", "headers": [(b"host", b"a.invalid")]}
        await app(scope, self._messages.receive, self._send)

    async def _send(self, message: Message) -> None:
        with trio.CancelScope(shield=self._shielded):
            await trio.sleep(0.1)
        self.sent.append(message)


@pytest.mark.logs_errors
@pytest.mark.parametrize("shielded", [False, True])
@pytest.mark.parametrize("code", [1000, 1011, 4000])
async def test_the_close_is_sent_when_the_application_returns(
    code: int, shielded: bool, autojump_clock: trio.testing.MockClock
):
    async def handler(connection: hubws.Connection) -> None:
        await connection.send("last")
        if code == 1011:
            raise ZeroDivisionError
        if code == 4000:
            await connection.aclose(code)

    server = SlowServer(shielded=shielded)
    await server.run(asgi_app(handler))
    assert [message["type"] for message in server.sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert server.sent[-1]["code"] == code


@pytest.mark.parametrize("shielded", [False, True])
def test_cancelled_at_any_point(shielded: bool):
    async def handler(connection: hubws.Connection) -> None:
        await connection.send(await connection.receive())
        await connection.ping()

    async def scenario(canceller: Canceller) -> None:
        answer = json.dumps({"hubws": "pong", "payload": b"ping".hex()})
        server = SlowServer(
            shielded=shielded,
            messages=[
                {"type": "websocket.receive", "text": "hello"},
                {"type": "websocket.receive", "text": answer},
                {"type": "websocket.disconnect", "code": 1001},
            ],
        )
        with canceller.block():
            await server.run(asgi_app(handler, echo=Echo()))
        await trio.sleep(1)  # what can't be cancelled is over

    assert cancel_everywhere(scenario) > 10


async def endpoint(websocket: WebSocket) -> None:
    async with accept_asgi(websocket.scope, websocket.receive, websocket.send) as connection:
        await connection.send(websocket.path_params["name"])
        await echo(connection)


def starlette_app() -> Any:
    return Starlette(routes=[WebSocketRoute("/{name}", endpoint)])


def fastapi_app() -> Any:
    app = FastAPI()
    app.websocket("/{name}")(endpoint)
    return app


def quart_app() -> Any:
    app = QuartTrio(__name__)

    @app.websocket("/<name>")
    async def talk(name: str) -> None:
        async with accept_asgi(*asgi_of(quart.websocket)) as connection:
            await connection.send(name)
            await echo(connection)

    return app


@pytest.mark.parametrize("make", [starlette_app, fastapi_app, quart_app])
async def test_in_the_app_of_somebody_else(make: Callable[[], Any], serve_app: ServeApp):
    url = await serve_app(make())
    async with hubws.connect(url + "ada", proxy=None) as client:
        assert await client.receive() == "ada"
        for message in ("hello", b"bytes", "", "x" * 100_000):
            await client.send(message)
            assert await client.receive() == message
    async with hubws.connect(url + "mo", proxy=None) as client:
        client.abort()
    async with hubws.connect(url + "lin", proxy=None) as client:  # it still serves
        assert await client.receive() == "lin"
