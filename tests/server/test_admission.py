"""How many are let in: in total, from an address, of a user, and how many at once."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame, Request
from hubws.server.admission import address_key
from tests.server.conftest import RawClient


async def refused(client: RawClient, hello: bytes) -> tuple[int, str, str]:
    await client.send(hello)
    status, headers, body = await client.response()
    await client.stream.aclose()
    return status, headers["retry-after"], body.decode().strip()


async def leave(client: RawClient, server: hubws.Server) -> None:
    before = len(server.connections)
    await client.send(Frame.close())
    await client.at_end()
    assert len(server.connections) == before - 1


class TestAddresses:
    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            (("192.0.2.1", 1), ("192.0.2.1", 2), True),
            (("192.0.2.1", 1), ("192.0.2.2", 1), False),
            (("::ffff:192.0.2.1", 1, 0, 0), ("192.0.2.1", 2), True),
            (("::ffff:192.0.2.1", 1, 0, 0), ("::ffff:192.0.2.2", 1, 0, 0), False),
            (("2001:db8::1", 1, 0, 0), ("2001:db8::ffff:1", 1, 0, 0), True),
            (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 1, 0, 0), False),
            (("fe80::1%2", 1, 0, 2), ("fe80::2%2", 1, 0, 2), True),
        ],
    )
    async def test_ipv4_addresses_and_ipv6_networks(self, one, other, same) -> None:
        assert (address_key(one) == address_key(other)) is same

    @pytest.mark.parametrize("remote", [None, "", "/run/socket", b"\0abstract"])
    async def test_what_has_none(self, remote) -> None:
        assert address_key(remote) is None

    async def test_limit(self, start, raw, hello, nursery) -> None:
        server = await start(max_connections_per_address=2, retry_after=7)
        first = await raw(server, upgraded=True)
        await raw(server, upgraded=True)
        why = "too many connections from this address"
        assert await refused(await raw(server), hello()) == (503, "7", why)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port, local_address="127.0.0.2")
        async with stream:
            await RawClient(stream).upgrade()
            assert len(server.connections) == 3
        while len(server.connections) > 2:
            await trio.lowlevel.checkpoint()
        await leave(first, server)
        await raw(server, upgraded=True)
        assert server.statistics().refused == 1

    async def test_unix_sockets_are_exempt(self, start, tmp_path, hello) -> None:
        path = tmp_path / "socket"
        server = await start(unix_path=path, max_connections_per_address=1)
        async with (
            await trio.open_unix_socket(str(path)) as one,
            await trio.open_unix_socket(str(path)) as other,
        ):
            await RawClient(one).upgrade()
            await RawClient(other).upgrade()
            assert len(server.connections) == 2


class TestUsers:
    async def test_limit(self, start, raw, hello) -> None:
        def name(request: Request) -> str | None:
            return request.path[1:] or None

        server = await start(authenticate=name, max_connections_per_user=1)
        ada = await raw(server)
        await ada.upgrade(request="GET /ada HTTP/1.1")
        why = "too many connections of this user"
        request = hello(request="GET /ada HTTP/1.1")
        assert await refused(await raw(server), request) == (503, "5", why)
        await (await raw(server)).upgrade(request="GET /mo HTTP/1.1")
        for _ in range(2):  # who is anonymous is no user
            await raw(server, upgraded=True)
        await leave(ada, server)
        await (await raw(server)).upgrade(request="GET /ada HTTP/1.1")

    async def test_those_who_are_authenticated_at_once_are_counted_in_turn(
        self, start, raw, hello
    ) -> None:
        gate = trio.Event()

        async def hook(request: Request) -> str:
            await gate.wait()
            return "ada"

        server = await start(authenticate=hook, max_connections_per_user=2, max_connections=3)
        clients = [await raw(server) for _ in range(6)]
        for client in clients:
            await client.send(hello())
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().handshaking == 6
        gate.set()
        assert sorted([(await client.head())[0] for client in clients]) == [101] * 2 + [503] * 4
        assert len(server.connections) == 2

    async def test_total_holds_also_behind_a_slow_hook(self, start, raw, hello) -> None:
        gate = trio.Event()

        async def hook(request: Request) -> None:
            await gate.wait()

        server = await start(authenticate=hook, max_connections=1)
        clients = [await raw(server) for _ in range(3)]
        for client in clients:
            await client.send(hello())
        await trio.testing.wait_all_tasks_blocked(0.01)
        gate.set()
        assert sorted([(await client.head())[0] for client in clients]) == [101, 503, 503]

    async def test_user_who_can_t_be_counted_is_500(self, start, raw, hello, complaints) -> None:
        server = await start(authenticate=lambda request: ["ada"], max_connections_per_user=1)
        client = await raw(server)
        await client.send(hello())
        assert (await client.response())[0] == 500
        (record,) = complaints()
        assert "unhashable" in str(record.exc_info[1])


class TestHandshakes:
    @pytest.mark.parametrize("tls", [False, True])
    async def test_over_the_limit_clients_wait_in_the_queue(
        self, start, raw, tls, server_tls, client_tls
    ) -> None:
        server = await start(max_handshakes=2, ssl_context=server_tls if tls else None)
        silent = [await raw(server) for _ in range(2)]
        while server.statistics().handshaking < 2:
            await trio.lowlevel.checkpoint()
        clients = [await raw(server, client_tls if tls else None) for _ in range(5)]
        opened = []

        async def open_(client: RawClient) -> None:
            await client.upgrade()
            opened.append(client)

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(open_, client)
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert opened == []
            assert server.statistics().handshaking == 2
            silent[0].reset()
        assert len(server.connections) == 5  # through the one place that became free
        assert server.statistics().handshaking == 1

    async def test_slow_ones_are_cut_and_make_room(self, start, raw) -> None:
        server = await start(max_handshakes=1, handshake_timeout=0.05)
        for _ in range(3):
            await raw(server)
        await raw(server, upgraded=True)

    @pytest.mark.parametrize("tls", [False, True])
    async def test_a_silent_crowd_makes_room(
        self, start, raw, autojump_clock, tls, server_tls, client_tls
    ) -> None:
        autojump_clock.autojump_threshold = 0.02  # time for the sockets
        server = await start(
            max_handshakes=3, handshake_timeout=20, ssl_context=server_tls if tls else None
        )
        for _ in range(9):
            silent = await raw(server)
            await silent.send(b"G")
        began = trio.current_time()
        await raw(server, client_tls if tls else None, upgraded=True)
        assert trio.current_time() - began == pytest.approx(3, abs=1)
        assert len(server.connections) == 1

    async def test_who_is_being_authenticated_is_not_cut(
        self, start, raw, hello, autojump_clock
    ) -> None:
        autojump_clock.autojump_threshold = 0.02

        async def hook(request: Request) -> None:
            await trio.sleep(5)

        server = await start(max_handshakes=2, authenticate=hook)
        clients = [await raw(server) for _ in range(4)]
        for client in clients:
            await client.send(hello())
        assert [(await client.head())[0] for client in clients] == [101] * 4
        assert trio.current_time() == pytest.approx(10, abs=1)

    async def test_stream_listeners(self, start) -> None:
        class Memory(trio.abc.Listener[trio.abc.Stream]):
            def __init__(self) -> None:
                self.dial, self._streams = trio.open_memory_channel[trio.abc.Stream](10)

            async def accept(self) -> trio.abc.Stream:
                return await self._streams.receive()

            async def aclose(self) -> None:
                await self._streams.aclose()

        listener = Memory()
        server = await start(listeners=[listener], max_handshakes=1)
        silent, theirs = trio.testing.memory_stream_pair()
        listener.dial.send_nowait(theirs)
        ours, theirs = trio.testing.memory_stream_pair()
        listener.dial.send_nowait(theirs)
        client = RawClient(ours)
        await client.send(client.hello())
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics() == hubws.ServerStatistics(0, 1, 0)
        await silent.aclose()
        assert (await client.head())[0] == 101
        await ours.aclose()


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"max_connections": -1}, ValueError, "max_connections must be a whole number from 0"),
            ({"max_connections": 1.5}, ValueError, "1.5"),
            ({"max_connections": True}, ValueError, "True"),
            ({"max_connections_per_address": "2"}, ValueError, "max_connections_per_address"),
            ({"max_handshakes": 0}, ValueError, "max_handshakes must be a whole number from 1"),
            ({"max_connections_per_user": 1}, TypeError, "needs authenticate"),
            ({"retry_after": -1}, ValueError, "retry_after"),
            ({"retry_after": float("inf")}, ValueError, "retry_after"),
            ({"spread": -1}, ValueError, "spread"),
            ({"spread": 6, "grace": 5}, ValueError, "spread must be from 0 to grace, 5, not 6"),
            ({"rate_limit": 5}, TypeError, "rate_limit must be a RateLimit"),
            ({"idle_timeout": 0}, ValueError, "idle_timeout must be over 0"),
            ({"max_lifetime": -1}, ValueError, "max_lifetime must be over 0"),
        ],
    )
    async def test_bad_arguments_before_anything_is_opened(
        self, tmp_path, arguments: dict[str, Any], error, words
    ) -> None:
        path = tmp_path / "socket"
        with pytest.raises(error, match=words):
            await hubws.serve(hubws.Callbacks(), unix_path=path, **arguments)
        assert not path.exists()

    async def test_no_listeners_at_all(self) -> None:
        with pytest.raises(TypeError, match="needs a port"):
            await hubws.serve(hubws.Callbacks(), listeners=[])
