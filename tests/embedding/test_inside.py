"""Hubs and connections inside other programs: cancelled at any point, they leave nothing behind."""

from __future__ import annotations

import trio
import trio.testing
import trio_websocket

import hubws
from hubws.embedding.accept import accept
from hubws.embedding.adopt import adopt
from hubws.testing import open_server
from tests.faults.cancelling import Canceller, cancel_everywhere


def test_several_hubs_in_an_existing_nursery():
    finished = []

    async def work() -> None:
        """Something else in the same program."""
        while True:
            await trio.sleep(1)

    async def scenario(canceller: Canceller) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            hubs: list[hubws.Hub] = []
            with canceller.block():
                async with hubws.open_hub() as news, hubws.open_hub(ping_interval=0.1) as prices:
                    hubs += [news, prices]

                    async def visit(connection: hubws.Connection) -> None:
                        async with news.member(connection, "a"), prices.member(connection, "b"):
                            await connection.send("welcome")
                            async for message in connection:
                                news.broadcast(message, topic="a", exclude=connection)

                    async with (
                        open_server(visit) as server,
                        server.connect() as ada,
                        server.connect() as mo,
                    ):
                        assert await ada.receive() == await mo.receive() == "welcome"
                        await ada.send("hello")
                        assert await mo.receive() == "hello"
                        prices.broadcast("7", topic="b", policy="latest")
                        assert await mo.receive() == await ada.receive() == "7"
                        await trio.sleep(0.2)
                finished.append(canceller)
            assert [hub.statistics().members for hub in hubs] == [0] * len(hubs)
            assert len(nursery.child_tasks) == 1
            nursery.cancel_scope.cancel()

    assert cancel_everywhere(scenario) > 50
    assert len(finished) > 0


async def test_a_hub_that_is_cancelled_lets_its_members_go():
    async def hold(task_status: trio.TaskStatus[tuple[hubws.Hub, trio.CancelScope]]) -> None:
        with trio.CancelScope() as scope:
            async with hubws.open_hub() as hub:
                task_status.started((hub, scope))
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        hub, scope = await nursery.start(hold)
        other, _ = await nursery.start(hold)

        async def visit(connection: hubws.Connection) -> None:
            hub.register(connection, "a")
            other.register(connection, "a")
            await connection.send("welcome")
            await connection.wait_closed()

        async with open_server(visit) as server, server.connect() as ada:
            assert await ada.receive() == "welcome"
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert hub.statistics().members == 0
            other.broadcast("still here", topic="a")
            assert await ada.receive() == "still here"
        nursery.cancel_scope.cancel()


def test_accept_cancelled_at_any_point():
    async def scenario(canceller: Canceller) -> None:
        ours, theirs = trio.testing.memory_stream_pair()

        async def serve() -> None:
            async with ours:
                with canceller.block():
                    async with accept(ours) as connection:
                        await connection.send(await connection.receive())
                        await connection.ping()

        async def visit() -> None:
            async with theirs:
                try:
                    async with hubws.connect("ws://a.invalid/", stream=theirs) as connection:
                        await connection.send("hello")
                        assert await connection.receive() == "hello"
                        await connection.wait_closed()
                except (hubws.ConnectionClosed, hubws.HandshakeError):
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(visit)

    assert cancel_everywhere(scenario) > 10


def test_adopt_cancelled_at_any_point():
    async def scenario(canceller: Canceller) -> None:
        ours, theirs = trio.testing.memory_stream_pair()

        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                request = await trio_websocket.wrap_server_stream(nursery, ours)
                websocket = await request.accept()
                with canceller.block():
                    async with adopt(websocket) as connection:
                        await connection.send(await connection.receive())
                        await connection.ping()
                        await connection.send(b"x" * 100_000)
                await trio.aclose_forcefully(ours)

        async def visit() -> None:
            async with theirs:
                try:
                    async with hubws.connect("ws://a.invalid/", stream=theirs) as connection:
                        await connection.send("hello")
                        assert await connection.receive() == "hello"
                        assert await connection.receive() == b"x" * 100_000
                        await connection.wait_closed()
                except hubws.ConnectionClosed:
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(visit)

    assert cancel_everywhere(scenario) > 10
