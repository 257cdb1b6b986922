"""The same behaviour through hubws, nginx and haproxy, each in front of the same backend."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame, Opcode
from hubws.proxy import Backend, Route, serve_proxy
from tests.proxy.peers import Listening, listening
from tests.proxy.references import Reference, running
from tests.server.conftest import RawClient

HUBWS = "hubws"
PROGRAMS = [HUBWS, "nginx", "haproxy"]


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Reference]]:
    with (
        running("nginx", tmp_path_factory.mktemp("nginx")) as nginx,
        running("haproxy", tmp_path_factory.mktemp("haproxy")) as haproxy,
    ):
        yield {"nginx": nginx, "haproxy": haproxy}


@pytest.fixture(params=PROGRAMS)
async def front(request, references, nursery: trio.Nursery) -> AsyncIterator[Reference]:
    """Each proxy in turn; what it expects its backend at is free for the test."""
    with trio.fail_after(10):
        if request.param != HUBWS:
            yield references[request.param]
            return
        port = references["nginx"].backend_port
        routes = [
            Route(path=path, backends=[Backend(f"ws://127.0.0.1:{port}")])
            for path in ("/echo", "/echo/")
        ]
        start = functools.partial(serve_proxy, routes, "127.0.0.1", 0)
        proxy = await nursery.start(start)
        slow = Route(path="/slow", backends=routes[0].backends)
        start = functools.partial(serve_proxy, [slow], "127.0.0.1", 0, timeout=0.5)
        slow_proxy = await nursery.start(start)
        yield Reference(proxy.port, port, slow_proxy.port)


@pytest.fixture
async def backend(front: Reference) -> AsyncIterator[Listening]:
    async with listening(front.backend_port) as place:
        yield place


@pytest.fixture
async def client(front: Reference) -> AsyncIterator[RawClient]:
    stream = await trio.open_tcp_stream("127.0.0.1", front.port)
    yield RawClient(stream)
    await trio.aclose_forcefully(stream)


@pytest.fixture
async def echo(front: Reference, nursery: trio.Nursery) -> str:
    """The URL of an echo server, through the proxy."""

    async def handle(connection: hubws.Connection) -> None:
        async for message in connection:
            await connection.send(message)

    serve = functools.partial(
        hubws.serve, handle, "127.0.0.1", front.backend_port, compression=True, origins="any"
    )
    await nursery.start(serve)
    return f"ws://127.0.0.1:{front.port}/echo"


class TestMessages:
    async def test_echo(self, echo: str):
        async with hubws.connect(echo) as connection:
            for message in ("", "x", "y" * 100_000, bytes(500_000)):
                await connection.send(message)
                assert await connection.receive() == message
            assert await connection.ping() > 0

    async def test_many_in_flight(self, echo: str):
        async with hubws.connect(echo) as connection, trio.open_nursery() as nursery:

            async def send() -> None:
                for number in range(5_000):
                    await connection.send(str(number))

            nursery.start_soon(send)
            assert [await connection.receive() for _ in range(5_000)] == [*map(str, range(5_000))]

    async def test_compression_is_agreed_on_end_to_end(self, echo: str):
        async with hubws.connect(echo, compression=True) as connection:
            await connection.send("la " * 10_000)
            assert await connection.receive() == "la " * 10_000
            assert connection.compression is not None
            assert connection.statistics().bytes_received < 1_000

    async def test_pings_are_relayed(self, client: RawClient, backend: Listening):
        await client.send(client.hello("GET /echo HTTP/1.1"))
        peer = await backend.next()
        await peer.accept()
        await client.head()
        await client.send(Frame(opcode=Opcode.PING, payload=b"1"))
        assert (await peer.frame()).payload == b"1"
        await peer.send(Frame(opcode=Opcode.PING, payload=b"2"))
        assert (await client.frame()).payload == b"2"


class TestHandshake:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Origin", "https://a.example"),
            ("Cookie", "a=1; b=2"),
            ("Authorization", "Bearer x"),
            ("Sec-WebSocket-Protocol", "b, a"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
            ("User-Agent", "test"),
            ("Host", "a.example:8080"),
        ],
    )
    async def test_headers_go_on(
        self, client: RawClient, backend: Listening, name: str, value: str
    ):
        await client.send(client.hello("GET /echo HTTP/1.1", **{name: value}))
        peer = await backend.next()
        await peer.request()
        assert peer.header(name) == value

    async def test_forwarded_headers(self, client: RawClient, backend: Listening):
        await client.send(client.hello("GET /echo HTTP/1.1", Host="a.example"))
        peer = await backend.next()
        await peer.request()
        assert peer.header("X-Forwarded-For") == "127.0.0.1"
        assert peer.header("X-Forwarded-Proto") == "http"
        assert peer.header("X-Forwarded-Host") == "a.example"

    @pytest.mark.parametrize("target", ["/echo", "/echo/a%20b?c=%2Fd&e", "/echo?"])
    async def test_path_and_query(self, client: RawClient, backend: Listening, target: str):
        await client.send(client.hello(f"GET {target} HTTP/1.1"))
        peer = await backend.next()
        await peer.request()
        assert peer.target == target

    async def test_what_the_backend_says_in_its_101(self, client: RawClient, backend: Listening):
        await client.send(client.hello("GET /echo HTTP/1.1", Sec_WebSocket_Protocol="a, b"))
        peer = await backend.next()
        first = Frame(opcode=Opcode.TEXT, payload=b"first").to_bytes()
        await peer.accept(
            "Sec-WebSocket-Protocol: b", "Set-Cookie: a=1", "Set-Cookie: b=2", behind=first
        )
        status, headers = await client.head()
        assert status == 101
        assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert headers["sec-websocket-protocol"] == "b"
        assert headers["set-cookie"] == "a=1, b=2"
        assert (await client.frame()).payload == b"first"

    async def test_what_the_client_sends_at_once(self, client: RawClient, backend: Listening):
        early = Frame(opcode=Opcode.TEXT, payload=b"early", mask_key=b"abcd").to_bytes()
        await client.send(client.hello("GET /echo HTTP/1.1") + early)
        peer = await backend.next()
        await peer.accept()
        assert (await peer.frame()).payload == b"early"

    async def test_a_refusal(self, client: RawClient, backend: Listening):
        await client.send(client.hello("GET /echo HTTP/1.1"))
        peer = await backend.next()
        await peer.request()
        await peer.send(b"HTTP/1.1 403 No\r\nX-Why: you\r\nContent-Length: 4\r\n\r\nno!\n")
        status, headers = await client.head()
        assert (status, headers["x-why"]) == (403, "you")
        while len(client.buffer) < 4:
            await client._more()
        assert client.buffer == b"no!\n"

    async def test_nobody_is_there(self, request, client: RawClient):
        await client.send(client.hello("GET /echo HTTP/1.1"))
        status = 503 if request.node.callspec.params["front"] == "haproxy" else 502
        assert (await client.head())[0] == status

    async def test_no_answer(self, front: Reference, backend: Listening):
        client = RawClient(await trio.open_tcp_stream("127.0.0.1", front.slow_port or front.port))
        await client.send(client.hello("GET /slow HTTP/1.1"))
        peer = await backend.next()
        assert (await client.head())[0] == 504
        await peer.request()
        await client.stream.aclose()

    async def test_elsewhere(self, client: RawClient):
        await client.send(client.hello("GET /else HTTP/1.1"))
        assert (await client.head())[0] == 404


class TestEnding:
    async def open(self, client: RawClient, backend: Listening):
        await client.send(client.hello("GET /echo HTTP/1.1"))
        peer = await backend.next()
        await peer.accept()
        await client.head()
        return peer

    @pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
    async def test_close_frames(self, client: RawClient, backend: Listening, code: int):
        peer = await self.open(client, backend)
        await client.send(Frame.close(code, "why"))
        frame = await peer.frame()
        assert (frame.close_code, frame.close_reason) == (code, "why")
        await peer.send(Frame.close(code))
        await peer.stream.aclose()
        assert (await client.frame()).close_code == code
        assert await client.at_end()

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_a_backend_that_goes_in_the_middle_of_a_message(
        self, client: RawClient, backend: Listening, how: str
    ):
        peer = await self.open(client, backend)
        await peer.send(Frame(opcode=Opcode.TEXT, payload=bytes(1000)).to_bytes()[:504])
        while len(client.buffer) < 504:
            await client._more()
        client.buffer = b""
        if how == "reset":
            peer.reset()
        else:
            await peer.stream.aclose()
        assert await client.at_end()  # without a close frame: what there is, is incomplete

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_a_client_that_goes(self, client: RawClient, backend: Listening, how: str):
        peer = await self.open(client, backend)
        if how == "reset":
            client.reset()
        else:
            await client.stream.aclose()
        assert await peer.at_end()

    async def test_a_slow_side_holds_the_other_back(self, client: RawClient, backend: Listening):
        peer = await self.open(client, backend)
        taken = 0
        assert isinstance(client.stream, trio.SocketStream)
        while True:
            with trio.move_on_after(0.05) as scope:
                taken += await client.stream.socket.send(bytes(1 << 18))
            if scope.cancelled_caught:
                break
            assert taken < 50_000_000
        assert await peer.received(taken) == bytes(taken)
