"""`connect`, cancelled at every scheduling point of its life, over sockets and streams, plain and TLS.

The server is hubws, too: it must see the end of whatever was begun.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import trio
import trio.testing

import hubws
from hubws.testing import MemoryListener
from hubws.testing.plan import Fault, Kind, Plan
from tests.faults.cancelling import Canceller, cancel_everywhere
from tests.faults.conftest import Tls
from tests.faults.remains import rest_until


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


def is_idle(server: hubws.Server) -> bool:
    """Whether nobody is connected, or about to be."""
    statistics = server.statistics()
    return statistics.connections == statistics.handshaking == 0


Dial = Callable[[MemoryListener], trio.abc.Stream]


def everywhere(tls: Tls | None, dial: Dial | None, *, compression: bool) -> list[str]:
    """Connect, exchange a message and close; returns how far it came at each point."""
    results = []
    cushion, jump = (0, 0) if dial else (0.001, 1)  # a network is slow, and needs no time limit

    async def scenario(canceller: Canceller) -> None:
        async with trio.open_nursery() as nursery:
            listener = MemoryListener()
            result = "dialling"
            server = await start(nursery, listener if dial else None, tls, compression)
            port = 1 if dial else server.port
            with canceller.block():
                try:
                    async with hubws.connect(
                        f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/",
                        ssl_context=None if tls is None else tls.client,
                        stream=dial(listener) if dial else None,
                        timeout=3,
                        compression=compression,
                    ) as connection:
                        result = "open"
                        await connection.send("hello" * 100)
                        assert await connection.receive() == "hello" * 100
                        result = "closing"
                    assert connection.closure.normal
                    assert (connection.compression is not None) == compression
                    result = "closed"
                except hubws.HandshakeTimeout:
                    result = "timeout"
            results.append(result)
            await rest_until(lambda: is_idle(server), cushion)
            assert is_idle(server)
            nursery.cancel_scope.cancel()
        assert server.clean

    cancel_everywhere(scenario, cushion=cushion, jump=jump)
    return results


async def start(
    nursery: trio.Nursery, listener: MemoryListener | None, tls: Tls | None, compression: bool
) -> hubws.Server:
    context = None if tls is None else tls.server
    serve = functools.partial(hubws.serve, echo, compression=compression)
    if listener is None:
        serve = functools.partial(serve, "127.0.0.1", 0, ssl_context=context)
    elif context is None:
        serve = functools.partial(serve, listeners=[listener])
    else:
        secure = trio.SSLListener(listener, context, https_compatible=True)
        serve = functools.partial(serve, listeners=[secure])
    server: hubws.Server = await nursery.start(serve)
    return server


def test_over_sockets(tls: Tls | None) -> None:
    results = everywhere(tls, None, compression=True)
    assert results[0] == "dialling"
    assert results[-1] == "closed"
    assert {"dialling", "open", "closing", "closed"} == set(results)


def test_over_streams(tls: Tls | None) -> None:
    """All goes in small pieces, so that there is a point within each step of each handshake."""
    pieces = (Fault(0, Kind.SPLIT, length=9000, size=200),)
    results = everywhere(
        tls, lambda listener: listener.dial(Plan(pieces, pieces)), compression=True
    )
    assert results[0] == "dialling"
    assert results[-1] == "closed"
    assert {"dialling", "open", "closing", "closed"} == set(results)


@pytest.mark.parametrize("at", [0, 90])
@pytest.mark.parametrize("to_server", [False, True])
def test_while_the_handshake_stalls(tls: Tls | None, at: int, to_server: bool) -> None:
    stall = (Fault(at, Kind.STALL),)
    plan = Plan(stall) if to_server else Plan((), stall)
    results = everywhere(tls, lambda listener: listener.dial(plan), compression=False)
    assert results[0] == "dialling"
    assert results[-1] == "timeout"
    assert set(results) == {"dialling", "timeout"}
