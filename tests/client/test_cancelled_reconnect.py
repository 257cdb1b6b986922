"""`reconnect` and `open_client`, cancelled at every scheduling point: nothing of them is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio

import hubws
from hubws import ConnectionClosed
from hubws.client.backoff import Backoff
from hubws.client.reconnect import reconnect
from hubws.client.resuming import open_client
from tests.client.service import echo
from tests.faults.cancelling import Canceller, cancel_everywhere
from tests.faults.remains import rest_until

CUSHION = 0.001
QUICK = Backoff(initial=0, maximum=0)

Body = Callable[[str, hubws.Server], Awaitable[None]]


@pytest.fixture(autouse=True)
def _safety_net() -> None:
    """Each run is one of its own."""


def everywhere(body: Body, stride: int = 1) -> int:
    """Cancel a client's life at each point; returns how many points there were."""

    async def scenario(canceller: Canceller) -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(hubws.serve, echo, "127.0.0.1", 0)
            with canceller.block():
                await body(f"ws://127.0.0.1:{server.port}/", server)

            def is_idle() -> bool:
                statistics = server.statistics()
                return statistics.connections == statistics.handshaking == 0

            await rest_until(is_idle, CUSHION)
            assert is_idle()
            nursery.cancel_scope.cancel()

    return cancel_everywhere(scenario, cushion=CUSHION, jump=1, stride=stride)


def cut(server: hubws.Server) -> None:
    for connection in list(server.connections):
        connection.abort()


async def loop(url: str, server: hubws.Server) -> None:
    """As most write it: the loop is left while the connection is open."""
    count = 0
    async for connection in reconnect(url, backoff=QUICK):
        with suppress(ConnectionClosed):
            await connection.send("hello")
            assert await connection.receive() == "hello"
            count += 1
            if count == 2:
                return
            cut(server)
            await connection.receive()


async def block(url: str, server: hubws.Server) -> None:
    async with reconnect(url, backoff=QUICK) as connections:
        first = await anext(connections)
        cut(server)
        second = await anext(connections)
        assert first is not second
        assert second.state is hubws.State.OPEN
    assert second.closure is not None
    assert second.closure.normal


async def client(url: str, server: hubws.Server) -> None:
    """Sends before there is a connection, and after it was lost."""
    async with open_client(url, backoff=QUICK) as client:
        await client.send("one")
        assert await client.receive() == "one"
        connection = client.connection
        assert connection is not None
        cut(server)
        await connection.wait_closed()
        await client.send("two")
        assert await client.receive() == "two"


@pytest.mark.parametrize("body", [loop, block, client])
def test_nothing_is_left(body: Body) -> None:
    assert everywhere(body) > 20
