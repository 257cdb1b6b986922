"""What the peer still sends while this side closes: all of it is received, or what is not is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing

from hubws import Connection, ConnectionClosed, Settings
from hubws.transport.poller import current_poller
from tests.faults.peer import ENDS, Peer

Connect = Callable[[], Awaitable[tuple[Connection, Peer]]]

SENT = [f"{number:03}" + "x" * 10_000 for number in range(60)]
"""More than the inbox takes, and more than is read at once."""


@pytest.fixture(params=["socket", "memory"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Makes a server's connection with a small inbox, and its peer."""
    pairs = []

    async def connect() -> tuple[Connection, Peer]:
        ends = ENDS[request.param]()
        connection = Connection(
            ends.transport,
            current_poller(),
            is_client=False,
            settings=Settings(
                keepalive_interval=None, close_timeout=None, inbox_messages=2, inbox_bytes=20_000
            ),
        )
        connection.begin()
        pairs.append((connection, Peer(ends.stream, is_client=True)))
        return pairs[-1]

    yield connect
    for connection, peer in pairs:
        connection.abort()
        await trio.aclose_forcefully(peer.stream)


async def send_all_and_close(peer: Peer) -> None:
    """Send, then answer the close frame that has come long ago."""
    for message in SENT:
        await peer.send(message)
    await peer.read()


async def receive_all(connection: Connection, seconds: float) -> list[str | bytes]:
    """Take every message that comes, so long after the one before."""
    received = []
    try:
        while True:
            await trio.sleep(seconds)
            received.append(await connection.receive())
    except ConnectionClosed:
        return received


@pytest.mark.parametrize("seconds", [0.03, 0.3, 0.9])
async def test_slow_receiver_gets_all(connect: Connect, autojump_clock, seconds: float) -> None:
    connection, peer = await connect()
    connection.close_nowait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all_and_close, peer)
        assert await receive_all(connection, seconds) == SENT
    assert connection.closure.clean


async def test_receiver_that_comes_too_late_gets_no_gap_and_is_told(
    connect: Connect, autojump_clock
) -> None:
    connection, peer = await connect()
    connection.close_nowait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all_and_close, peer)
        await trio.sleep(1.01)
        received = await receive_all(connection, 0)
    assert received == SENT[: len(received)]
    assert connection.closure.normal == (received == SENT)  # or iterating would just end


async def test_with_no_receiver_the_close_frame_is_found(connect: Connect, autojump_clock) -> None:
    connection, peer = await connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_all_and_close, peer)
        await connection.aclose()
    assert connection.close_code == 1000
    assert connection.statistics().inbox_messages < len(SENT)
