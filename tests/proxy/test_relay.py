"""Bytes move both ways, wait for the slower side, and an end on one side is an end on the other."""

from __future__ import annotations

import hashlib
import os

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame, Opcode
from hubws.client.tls import TLS
from hubws.proxy import Backend, Route
from hubws.proxy.relay import HELD, Relay
from hubws.server.server import Server
from tests.faults.remains import Remains
from tests.proxy.conftest import StartPair, StartProxy
from tests.proxy.peers import Listening
from tests.server.conftest import RawClient, Start


def only_relay(server: Server) -> Relay:
    [relay] = server.connections
    assert isinstance(relay, Relay)
    return relay


async def send_until_blocked(client: RawClient) -> int:
    """Send until nothing is taken for a while; how many bytes were taken."""
    assert isinstance(client.stream, trio.SocketStream)
    sent = 0
    while True:
        with trio.move_on_after(0.05) as scope:
            sent += await client.stream.socket.send(bytes(256 * 1024))
        if scope.cancelled_caught:
            return sent


def held(relay: Relay) -> list[int]:
    return [sum(map(len, flow._held)) for flow in relay._flows]


class TestMoving:
    async def test_whatever_it_is(self, pair: StartPair):
        ends = await pair()
        await ends.client.send(b"no frames at all\0\xff")
        assert await ends.backend.received(18) == b"no frames at all\0\xff"
        await ends.backend.send(b"nor here")
        while len(ends.client.buffer) < 8:
            await ends.client._more()
        assert ends.client.buffer == b"nor here"

    async def test_pings_are_relayed(self, pair: StartPair):
        ends = await pair()
        await ends.client.send(Frame(opcode=Opcode.PING, payload=b"are you there?"))
        ping = await ends.backend.frame()
        assert (ping.opcode, ping.payload) == (9, b"are you there?")
        await ends.backend.send(Frame(opcode=Opcode.PONG, payload=b"yes"))
        assert (await ends.client.frame()).payload == b"yes"

    async def test_what_comes_right_behind_the_101(self, start_proxy, backend: Listening, raw):
        client = await raw(await start_proxy(backend.url))
        await client.send(client.hello())
        peer = await backend.next()
        await peer.accept(behind=Frame(opcode=Opcode.TEXT, payload=b"first").to_bytes())
        await client.head()
        assert (await client.frame()).payload == b"first"

    @pytest.mark.parametrize("to_client", [False, True])
    async def test_much_at_the_pace_of_the_slower_side(self, pair: StartPair, to_client: bool):
        ends = await pair()
        source, sink = (ends.backend, ends.client) if to_client else (ends.client, ends.backend)
        data = os.urandom(20_000_000)
        digest = hashlib.sha256()
        relay = only_relay(ends.proxy.server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.stream.send_all, data)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert HELD <= max(held(relay)) <= HELD + 256 * 1024
            left = len(data) - len(sink.buffer)
            digest.update(sink.buffer)
            while left:
                some = await sink.stream.receive_some(100_000)
                left -= len(some)
                digest.update(some)
        assert digest.digest() == hashlib.sha256(data).digest()
        assert held(relay) == [0, 0]

    async def test_one_way_is_not_held_up_by_the_other(self, pair: StartPair):
        ends = await pair()
        await send_until_blocked(ends.client)
        await ends.backend.send(Frame(opcode=Opcode.TEXT, payload=b"I can't keep up"))
        assert (await ends.client.frame()).payload == b"I can't keep up"

    async def test_a_side_that_takes_nothing_for_too_long(self, pair: StartPair):
        ends = await pair(write_timeout=0.1)
        try:
            while True:
                await ends.client.stream.send_all(bytes(65536))
        except trio.BrokenResourceError:
            pass
        assert ends.proxy.server.statistics().connections == 0


class TestEnding:
    @pytest.mark.parametrize("by_client", [False, True])
    async def test_half_close(self, pair: StartPair, by_client: bool):
        ends = await pair()
        first, second = (ends.client, ends.backend) if by_client else (ends.backend, ends.client)
        assert isinstance(first.stream, trio.SocketStream)
        assert isinstance(second.stream, trio.SocketStream)
        await first.stream.send_all(b"my last words")
        await first.stream.send_eof()
        while await second._more():
            pass
        assert second.buffer == b"my last words"
        await second.stream.send_all(b"and mine")
        await second.stream.send_eof()
        while await first._more():
            pass
        assert first.buffer == b"and mine"
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert ends.proxy.server.statistics().connections == 0

    async def test_who_does_not_close_after_the_other_has(self, pair: StartPair):
        ends = await pair(close_timeout=0.1)
        await ends.client.stream.aclose()
        assert await ends.backend.at_end()
        while ends.proxy.statistics().backends[0].connections:
            await trio.testing.wait_all_tasks_blocked(0.02)

    @pytest.mark.parametrize("by_client", [False, True])
    async def test_killed_in_the_middle_of_a_message(self, pair: StartPair, by_client: bool):
        ends = await pair()
        victim, other = (ends.client, ends.backend) if by_client else (ends.backend, ends.client)
        await victim.stream.send_all(
            Frame(opcode=Opcode.TEXT, payload=b"a" * 1000).to_bytes()[:500]
        )
        while len(other.buffer) < 500:
            await other._more()
        victim.reset()
        other.buffer = b""
        assert await other.at_end()  # and no close frame
        await other.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert ends.proxy.server.statistics().connections == 0

    async def test_what_was_said_before_a_reset_still_arrives(self, pair: StartPair):
        """The backend fails the connection while the client sends on: the client gets to see why."""
        ends = await pair()
        await send_until_blocked(ends.client)
        await ends.backend.send(Frame.close(1009, "too big").to_bytes())
        await ends.backend.stream.aclose()  # with much unread: that resets it
        frame = await ends.client.frame()
        assert (frame.close_code, frame.close_reason) == (1009, "too big")
        assert await ends.client.at_end()

    async def test_a_close_frame_goes_through_with_code_and_reason(self, start, start_proxy):
        async def refuse(connection: hubws.Connection) -> None:
            await connection.receive()
            await connection.aclose(4003, "not you")

        server = await start(refuse)
        proxy = await start_proxy(f"ws://127.0.0.1:{server.port}")
        async with hubws.connect(f"ws://127.0.0.1:{proxy.port}/") as connection:
            await connection.send("hello")
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await connection.receive()
        assert (closed.value.code, closed.value.reason) == (4003, "not you")

    async def test_a_close_frame_of_the_client(self, start, start_proxy):
        closures = []
        server = await start(hubws.Callbacks(on_close=lambda one: closures.append(one.closure)))
        proxy = await start_proxy(f"ws://127.0.0.1:{server.port}")
        async with hubws.connect(f"ws://127.0.0.1:{proxy.port}/") as connection:
            await connection.aclose(4004, "had enough")
        assert [(one.code, one.reason) for one in closures] == [(4004, "had enough")]

    async def test_idle(self, pair: StartPair, autojump_clock):
        autojump_clock.autojump_threshold = 0.02  # time for the sockets
        ends = await pair(idle_timeout=4)
        for _ in range(5):
            await trio.sleep(2.5)
            await ends.backend.send(b"x")
        began = trio.current_time()
        while await ends.client._more():
            pass
        assert ends.client.buffer == b"xxxxx"
        assert 4 <= trio.current_time() - began <= 5.5
        assert await ends.backend.at_end()

    async def test_lifetime(self, pair: StartPair, autojump_clock):
        autojump_clock.autojump_threshold = 0.02
        ends = await pair(max_lifetime=20)
        assert await ends.client.at_end()
        assert 20 <= trio.current_time() < 22
        assert await ends.backend.at_end()

    async def test_a_drain_waits_until_the_sides_have_ended(self, pair: StartPair):
        ends = await pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ends.proxy.server.drain, 20)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await ends.client.send(Frame(opcode=Opcode.TEXT, payload=b"still here"))
            assert (await ends.backend.frame()).payload == b"still here"
            await ends.client.stream.aclose()
            await ends.backend.at_end()
            await ends.backend.stream.aclose()
        assert ends.proxy.server.clean

    async def test_a_drain_ends_what_is_left(self, pair: StartPair):
        ends = await pair()
        assert not await ends.proxy.server.drain(0)
        assert await ends.client.at_end()
        assert await ends.backend.at_end()


class TestTls:
    @pytest.mark.parametrize("sides", ["client", "backend", "both"])
    async def test_echo(
        self, sides: str, start: Start, start_proxy: StartProxy, authority, server_tls, client_tls
    ):
        behind, front = sides != "client", sides != "backend"
        server = await start(ssl_context=server_tls if behind else None)
        url = f"{'wss' if behind else 'ws'}://localhost:{server.port}"
        route = Route(backends=[Backend(url, tls=TLS(context=client_tls))])
        proxy = await start_proxy(route, ssl_context=server_tls if front else None)
        url = f"{'wss' if front else 'ws'}://localhost:{proxy.port}/"
        async with hubws.connect(url, ssl_context=client_tls if front else None) as connection:
            for size in (1, 1_000_000):
                await connection.send("x" * size)
                assert len(await connection.receive()) == size
        while proxy.server.connections:
            await trio.testing.wait_all_tasks_blocked(0.01)

    @pytest.mark.parametrize("by_client", [False, True])
    async def test_it_can_not_be_half_closed(
        self, by_client: bool, start_proxy, backend, raw, server_tls, client_tls
    ):
        """What was said still arrives, and the end of one side is the end of both."""
        proxy = await start_proxy(backend.url, ssl_context=server_tls)
        client = await raw(proxy, client_tls)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.accept()
        await client.head()
        first, second = (client, peer) if by_client else (peer, client)
        await first.stream.send_all(b"x" * 100_000)
        if by_client:
            await first.stream.aclose()
        else:
            await first.stream.send_eof()
        while await second._more():
            pass
        assert second.buffer == b"x" * 100_000
        if not by_client:
            assert await first.at_end()
        await second.stream.aclose()
        while proxy.server.connections:
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_unix_sockets(start: Start, start_proxy: StartProxy, tmp_path):
    await start(unix_path=tmp_path / "backend")
    route = Route(backends=[Backend("ws://app", unix_path=tmp_path / "backend")])
    await start_proxy(route, host=None, port=None, unix_path=tmp_path / "front")
    async with hubws.connect("ws://app/", unix_path=tmp_path / "front") as connection:
        await connection.send("hello")
        assert await connection.receive() == "hello"


async def test_nothing_is_left(start_proxy: StartProxy, backend: Listening, raw):
    """Clients and backends that go in every state, in order and not."""
    proxy = await start_proxy(backend.url, close_timeout=0.2)
    await trio.testing.wait_all_tasks_blocked()
    before = Remains.now()
    for how in range(120):
        client = await raw(proxy)
        if how % 6:
            await client.send(client.hello()[: 20 if how % 6 == 1 else None])
        peer = None
        if how % 6 > 1:
            peer = await backend.next()
            await peer.request()
            if how % 6 > 2:
                await peer.send(peer.acceptance())
                await client.head()
            if how % 6 > 3:
                await client.send(b"\x81\xfe")
                await peer.send(b"\x81\x7e")
        ends = [one for one in (client, peer) if one is not None]
        for one in ends if how // 6 % 2 else reversed(ends):
            if how // 12 % 2:
                one.reset()
            else:
                await one.stream.aclose()
    await before.check(cushion=0.05)
    assert proxy.server.statistics().connections == 0
    assert proxy.statistics().backends[0].connections == 0
