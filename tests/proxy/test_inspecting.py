"""Messages are seen, changed and dropped; each side is a connection of its own."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import hubws
from hubws import CloseCode, Frame, Opcode
from hubws.protocol.state import Close, Closure
from hubws.proxy import Backend, Inspection, Proxy, Route
from hubws.proxy.inspecting import closing
from tests.proxy.conftest import StartProxy
from tests.proxy.peers import Listening, RawBackend
from tests.server.conftest import RawClient, Start


@pytest.fixture
def inspected(start: Start, start_proxy: StartProxy):
    """The URL of an echo server behind an inspecting proxy."""

    async def inspected(**options: object) -> tuple[str, Proxy]:
        hooks = {
            name: options.pop(name) for name in ("from_client", "from_backend") if name in options
        }
        compression = options.pop("behind", False)
        server = await start(compression=compression, subprotocols=["a"])
        route = Route(
            backends=[Backend(f"ws://127.0.0.1:{server.port}")],
            inspect=Inspection(**hooks),  # type: ignore[arg-type]
        )
        proxy = await start_proxy(route, **options)
        return f"ws://127.0.0.1:{proxy.port}/", proxy

    return inspected


@pytest.fixture
async def raw_pair(start_proxy: StartProxy, backend: Listening, raw):
    """Both ends raw, with an inspecting proxy between them."""

    async def raw_pair(**options: object) -> tuple[RawClient, RawBackend, Proxy]:
        route = Route(backends=[Backend(backend.url)], inspect=Inspection())
        proxy = await start_proxy(route, **options)
        client = await raw(proxy)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.accept()
        await client.head()
        return client, peer, proxy

    return raw_pair


class TestMessages:
    async def test_without_functions_they_go_on(self, inspected):
        url, _ = await inspected()
        async with hubws.connect(url, subprotocols=["b", "a"]) as connection:
            assert connection.subprotocol == "a"
            for message in ("", "x", b"\0", "y" * 200_000):
                await connection.send(message)
                assert await connection.receive() == message

    async def test_they_are_seen_changed_and_dropped(self, inspected):
        seen = []

        def from_client(connection: hubws.Connection, message: str | bytes) -> str | bytes | None:
            seen.append((connection.path, message))
            return None if message == "no" else message

        async def from_backend(_: hubws.Connection, message: str | bytes) -> str:
            await trio.lowlevel.checkpoint()
            assert isinstance(message, str)
            return message.upper()

        url, _ = await inspected(from_client=from_client, from_backend=from_backend)
        async with hubws.connect(url + "room") as connection:
            for message in ("one", "no", "two"):
                await connection.send(message)
            assert [await connection.receive(), await connection.receive()] == ["ONE", "TWO"]
        assert seen == [("/room", "one"), ("/room", "no"), ("/room", "two")]

    @pytest.mark.parametrize("front", [False, True])
    @pytest.mark.parametrize("behind", [False, True])
    async def test_compression_is_each_sides_own(self, inspected, front: bool, behind: bool):
        url, _ = await inspected(compression=True, behind=behind)
        async with hubws.connect(url, compression=front) as connection:
            await connection.send("la " * 10_000)
            assert await connection.receive() == "la " * 10_000
            assert (connection.compression is not None) == front

    async def test_limits(self, inspected):
        url, _ = await inspected(max_message_size=10)
        async with hubws.connect(url) as connection:
            await connection.send("a" * 11)
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await connection.receive()
        assert closed.value.code == CloseCode.MESSAGE_TOO_BIG

    async def test_pings_are_answered_by_the_proxy(self, raw_pair):
        client, peer, _ = await raw_pair()
        await client.send(Frame(opcode=Opcode.PING, payload=b"1"))
        assert (await client.frame()).opcode == Opcode.PONG
        assert peer.buffer == b""

    async def test_a_slow_side_holds_the_other_back(self, raw_pair):
        client, peer, _ = await raw_pair()
        frame = Frame(opcode=Opcode.BINARY, payload=bytes(65536), mask_key=b"\0\0\0\0").to_bytes()
        sent = 0
        while True:
            with trio.move_on_after(0.1) as scope:
                await client.stream.send_all(frame)
                sent += 1
            if scope.cancelled_caught:
                break
            assert sent < 1000
        async with trio.open_nursery() as nursery:  # all of it arrives
            nursery.start_soon(client.stream.send_all, b"")
            for _ in range(sent):
                assert len((await peer.frame()).payload) == 65536


class TestClosing:
    @pytest.mark.parametrize("code", [1000, 1001, 1008, 3000, 4999])
    @pytest.mark.parametrize("by_client", [False, True])
    async def test_code_and_reason_go_through(self, raw_pair, code: int, by_client: bool):
        client, peer, proxy = await raw_pair()
        first, second = (client, peer) if by_client else (peer, client)
        await first.send(Frame.close(code, "why"))
        frame = await second.frame()
        assert (frame.close_code, frame.close_reason) == (code, "why")
        await second.send(Frame.close(code))
        assert (await first.frame()).close_code == code
        await client.stream.aclose()
        await peer.stream.aclose()
        while proxy.server.connections or proxy.statistics().backends[0].connections:
            await trio.testing.wait_all_tasks_blocked(0.01)

    async def test_no_code(self, raw_pair):
        client, peer, _ = await raw_pair()
        await client.send(Frame.close(None))
        assert (await peer.frame()).payload == b""

    async def test_a_client_that_vanishes_has_gone_away(self, raw_pair):
        client, peer, _ = await raw_pair()
        client.reset()
        assert (await peer.frame()).close_code == CloseCode.GOING_AWAY

    @pytest.mark.parametrize("how", ["reset", "broken"])
    async def test_a_backend_that_is_lost(self, raw_pair, how: str):
        client, peer, _ = await raw_pair()
        if how == "reset":
            peer.reset()
        else:
            await peer.send(Frame(opcode=3))
        assert (await client.frame()).close_code == CloseCode.BAD_GATEWAY

    async def test_a_function_that_closes(self, inspected):
        def bouncer(connection: hubws.Connection, _: str | bytes) -> None:
            connection.close_nowait(4003, "not here")

        url, _ = await inspected(from_client=bouncer)
        async with hubws.connect(url) as connection:
            await connection.send("let me in")
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await connection.receive()
        assert (closed.value.code, closed.value.reason) == (4003, "not here")

    async def test_a_function_that_raises(self, inspected, complaints):
        def fail(_: hubws.Connection, message: str | bytes) -> None:
            raise LookupError(message)

        url, proxy = await inspected(from_client=fail)
        async with hubws.connect(url) as connection:
            await connection.send("oops")
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await connection.receive()
        assert closed.value.code == CloseCode.INTERNAL_ERROR
        assert len(complaints()) == 1
        while proxy.statistics().backends[0].connections:
            await trio.testing.wait_all_tasks_blocked(0.01)

    async def test_a_drain_closes_with_1001(self, raw_pair):
        client, peer, proxy = await raw_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.server.drain, 10)
            for end in (client, peer):
                assert (await end.frame()).close_code == CloseCode.GOING_AWAY
                await end.send(Frame.close(CloseCode.GOING_AWAY))
                await end.stream.aclose()
        assert proxy.server.clean

    async def test_idle(self, raw_pair, autojump_clock):
        autojump_clock.autojump_threshold = 0.02
        client, peer, _ = await raw_pair(idle_timeout=4, keepalive_interval=None)
        for _ in range(4):  # one way is enough
            await trio.sleep(2.5)
            await peer.send(Frame(opcode=Opcode.TEXT, payload=b"x"))
            assert (await client.frame()).payload == b"x"
        began = trio.current_time()
        assert (await client.frame()).close_reason == "idle for 4 s"
        assert trio.current_time() - began >= 3.9
        assert (await peer.frame()).close_code == CloseCode.GOING_AWAY


@pytest.mark.parametrize(
    ("closure", "client", "backend"),
    [
        (Closure(received=Close(4000, "a"), sent=Close(4000)), (4000, "a"), (4000, "a")),
        (Closure(received=Close(1005), sent=Close(1005)), (None, ""), (None, "")),
        (Closure(sent=Close(1001, "b")), (1001, "b"), (1001, "b")),
        (Closure(), (1001, ""), (1014, "the backend was lost")),
        (
            Closure(sent=Close(1002), error=hubws.RemoteProtocolError("x")),
            (1001, ""),
            (1014, "the backend was lost"),
        ),
    ],
)
def test_1006_is_never_said(closure: Closure, client: object, backend: object):
    assert closing(closure, is_client=True) == client
    assert closing(closure, is_client=False) == backend
