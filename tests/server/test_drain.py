"""Shutting down: in order, in time, and whoever cancels what."""

from __future__ import annotations

import re

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


async def sending(connection: hubws.Connection) -> None:
    """A handler whose peer takes nothing."""
    while True:
        await connection.send(bytes(100_000))


@pytest.fixture
async def in_scope(nursery):
    """Serve in a cancel scope of its own; gives the server, the scope, and an event for the end."""

    async def in_scope(handler=echo, **options):
        scope, ended = trio.CancelScope(), trio.Event()

        async def run(task_status) -> None:
            with scope:
                await hubws.serve(handler, "127.0.0.1", 0, task_status=task_status, **options)
            ended.set()

        return await nursery.start(run), scope, ended

    return in_scope


class TestDrain:
    async def test_1001_to_everyone_behind_what_was_queued(self, start, raw) -> None:
        server = await start()
        clients = [await raw(server, upgraded=True) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked()
        for connection in server.connections:
            for number in range(10):
                connection.send_nowait(f"{number}")

        async def answer(client) -> None:
            assert [(await client.frame()).payload for _ in range(10)] == [
                b"%d" % number for number in range(10)
            ]
            assert (await client.frame()).close_code == 1001
            await client.send(Frame.close(1001))
            assert await client.at_end()

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(answer, client)
            assert await server.drain(5)
        assert server.clean
        assert server.statistics() == hubws.ServerStatistics(0, 0, 3)

    async def test_queued_megabytes_are_delivered_first(self, start, raw) -> None:
        server = await start(outbox_bytes=64 * 1024 * 1024)
        client = await raw(server, upgraded=True)
        await trio.testing.wait_all_tasks_blocked()
        (connection,) = server.connections
        connection.send_nowait(bytes(20 * 1024 * 1024))
        assert connection.queued_bytes > 0

        async def take() -> None:
            assert len((await client.frame()).payload) == 20 * 1024 * 1024
            assert (await client.frame()).close_code == 1001
            await client.send(Frame.close(1001))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            assert await server.drain(20)

    @pytest.mark.parametrize("answers", [True, False])
    async def test_unclean_without_the_peer_s_close_frame(self, start, raw, answers) -> None:
        server = await start()
        client = await raw(server, upgraded=True)

        async def leave() -> None:
            assert (await client.frame()).close_code == 1001
            if answers:
                await client.send(Frame.close(1001))
            await client.stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            assert await server.drain(5) is answers
        assert server.clean is answers

    async def test_stalled_client_is_aborted_at_the_deadline(self, start, raw) -> None:
        server = await start(sending)
        client = await raw(server, upgraded=True)
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert not await server.drain(0.05)
        assert len(server.connections) == 0
        assert not server.clean
        await client.at_end()

    async def test_nobody_connected(self, start) -> None:
        server = await start()
        assert await server.drain(0)
        assert server.clean

    async def test_spread_over_a_time(self, start, raw, autojump_clock) -> None:
        autojump_clock.autojump_threshold = 0.01  # time for the sockets
        server = await start()
        clients = [await raw(server, upgraded=True) for _ in range(3)]
        order = []

        async def leave(client) -> None:
            assert (await client.frame()).close_code == 1001
            order.append(clients.index(client))
            order.append(len(server.connections))
            await client.send(Frame.close(1001))

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(leave, client)
            assert await server.drain(5, spread=3)
        assert order == [0, 3, 1, 2, 2, 1]  # who left, and how many were there

    async def test_new_connections_are_refused_meanwhile(self, start, raw) -> None:
        server = await start()
        client = await raw(server, upgraded=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.drain, 5)
            assert (await client.frame()).close_code == 1001
            with pytest.raises(OSError, match="all attempts to connect"):
                await trio.open_tcp_stream("127.0.0.1", server.port)
            await client.send(Frame.close(1001))

    async def test_handshakes_under_way_are_cut(self, start, raw, hello) -> None:
        server = await start()
        client = await raw(server)
        await client.send(hello()[:20])
        while not server.statistics().handshaking:
            await trio.lowlevel.checkpoint()
        assert await server.drain(5)
        assert await client.at_end()

    async def test_answers_under_way_are_completed(self, start, raw) -> None:
        page = hubws.Response(200, bytes(10_000_000))
        server = await start(on_request=lambda _: page)
        client = await raw(server)
        await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.drain, 10)
            await trio.testing.wait_all_tasks_blocked()
            while len(client.buffer) < 10_000_000:
                assert await client._more(), f"the stream ended after {len(client.buffer)} bytes"
            await client.stream.aclose()

    async def test_twice_at_once(self, start, raw) -> None:
        server = await start()
        client = await raw(server, upgraded=True)
        results = []

        async def drain() -> None:
            results.append(await server.drain(5))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            nursery.start_soon(drain)
            assert (await client.frame()).close_code == 1001
            await client.send(Frame.close(1001))
        assert results == [True, True]

    async def test_serve_returns_after_a_drain(self, in_scope) -> None:
        server, scope, ended = await in_scope()
        await server.drain(1)
        await ended.wait()
        assert not scope.cancelled_caught

    async def test_cancelled_drain_ends_what_is_left(self, in_scope, raw) -> None:
        server, _, ended = await in_scope(sending)
        await raw(server, upgraded=True)
        await trio.testing.wait_all_tasks_blocked(0.001)
        with trio.move_on_after(0.05) as scope:
            await server.drain(1000)
        assert scope.cancelled_caught
        assert not server.clean
        await ended.wait()


class TestCancel:
    async def test_cancelling_serve_drains(self, in_scope, raw) -> None:
        ends = []

        async def handler(connection: hubws.Connection) -> None:
            try:
                await echo(connection)
            finally:
                ends.append(trio.current_effective_deadline() > trio.current_time())

        server, scope, ended = await in_scope(handler)
        client = await raw(server, upgraded=True)
        scope.cancel()
        assert (await client.frame()).close_code == 1001
        await client.send(Frame.text("last words"))  # too late, and no harm
        await client.send(Frame.close(1001))
        await client.at_end()
        await ended.wait()
        assert ends == [True]  # the handler saw its connection close and was not cancelled
        assert scope.cancelled_caught
        assert server.clean

    async def test_grace_bounds_it(self, in_scope, raw) -> None:
        cancelled = []

        async def handler(connection: hubws.Connection) -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled.append(connection.state)
                raise

        server, scope, ended = await in_scope(handler, grace=0.05)
        await raw(server, upgraded=True)
        scope.cancel()
        await ended.wait()
        assert cancelled == [hubws.State.CLOSED]
        assert not server.clean

    async def test_no_grace(self, in_scope, raw) -> None:
        server, scope, ended = await in_scope(grace=0)
        client = await raw(server, upgraded=True)
        scope.cancel()
        await ended.wait()
        await client.at_end()

    async def test_stalled_client_does_not_outlast_grace(self, in_scope, raw) -> None:
        server, scope, ended = await in_scope(sending, grace=0.05)
        await raw(server, upgraded=True)
        await trio.testing.wait_all_tasks_blocked(0.001)
        scope.cancel()
        await ended.wait()
        assert not server.clean

    async def test_callbacks_only(self, in_scope, raw) -> None:
        closed = []
        callbacks = hubws.Callbacks(on_close=lambda connection: closed.append(connection.closure))
        server, scope, ended = await in_scope(callbacks)
        client = await raw(server, upgraded=True)
        scope.cancel()
        assert (await client.frame()).close_code == 1001
        await client.send(Frame.close(1001))
        await ended.wait()
        assert closed[0].clean


class TestRetryAfter:
    async def test_every_client_is_told_when_to_come_back(self, start, raw) -> None:
        server = await start()
        clients = [await raw(server, upgraded=True) for _ in range(8)]
        hints = []

        async def leave(client) -> None:
            close = await client.frame()
            assert close.close_code == 1001
            hints.extend(re.findall(r"^going away; retry-after=(\d+\.\d)$", close.close_reason))
            await client.send(Frame.close(1001))

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(leave, client)
            assert await server.drain(5, spread=0.4, retry_after=2.5)
        assert all(2.5 <= float(hint) <= 2.9 for hint in hints)
        assert len(hints) == 8

    async def test_without_it_nothing_is_said(self, start, raw) -> None:
        server = await start()
        client = await raw(server, upgraded=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.drain, 5)
            assert (await client.frame()).payload == b"\x03\xe9"
            await client.send(Frame.close(1001))

    async def test_also_when_serve_is_cancelled(self, in_scope, raw) -> None:
        server, scope, ended = await in_scope(grace=5, spread=0.01, retry_after=1)
        client = await raw(server, upgraded=True)
        scope.cancel()
        assert (await client.frame()).close_reason == "going away; retry-after=1.0"
        await client.send(Frame.close(1001))
        await ended.wait()
        assert server.clean

    async def test_hints_differ(self, start, raw, autojump_clock) -> None:
        autojump_clock.autojump_threshold = 0.01  # time for the sockets
        server = await start(hubws.Callbacks())
        clients = [await raw(server, upgraded=True) for _ in range(20)]
        hints, began = [], trio.current_time()

        async def leave(client) -> None:
            hints.append(((await client.frame()).close_reason, trio.current_time() - began))
            await client.send(Frame.close(1001))

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(leave, client)
            assert await server.drain(15, spread=10, retry_after=0)
        assert len({hint for hint, _ in hints}) > 10
        assert [round(when, 3) for _, when in hints] == [number / 2 for number in range(20)]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"grace": -1}, "grace must not be below 0"),
            ({"grace": 1, "spread": -1}, "spread must be from 0 to grace"),
            ({"grace": 1, "spread": 2}, "spread must be from 0 to grace"),
            ({"grace": float("inf"), "spread": float("inf")}, "spread"),
            ({"grace": 1, "retry_after": -1}, "retry_after"),
            ({"grace": 1, "retry_after": float("nan")}, "retry_after"),
        ],
    )
    async def test_times_that_make_no_sense_change_nothing(
        self, start, raw, arguments, words
    ) -> None:
        server = await start()
        with pytest.raises(ValueError, match=words):
            await server.drain(**arguments)
        await raw(server, upgraded=True)
