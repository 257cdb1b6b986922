"""What becomes of that which a stream is taking when its connection ends, or is answered already."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing

from hubws import Connection, ConnectionClosed, Settings
from hubws.testing.plan import Fault, Kind, Plan
from hubws.testing.stream import FaultyStream
from hubws.transport.poller import current_poller
from hubws.transport.stream import StreamTransport
from tests.faults.peer import ENDS, Ends, Peer

Connect = Callable[..., Awaitable[tuple[Connection, Peer]]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes a server's connection whose stream has faults on its way out, and its peer."""
    pairs = []

    async def connect(
        *out: Fault, ends: Ends | None = None, **settings: float
    ) -> tuple[Connection, Peer]:
        if ends is None:
            near, far = trio.testing.memory_stream_pair()
            ends = Ends(StreamTransport(FaultyStream(near, Plan(out))), far)
        connection = Connection(
            ends.transport,
            current_poller(),
            is_client=False,
            settings=Settings(keepalive_interval=None, **settings),  # type: ignore[arg-type]
        )
        connection.begin()
        pairs.append((connection, Peer(ends.stream, is_client=True)))
        return pairs[-1]

    yield connect
    for connection, peer in pairs:
        connection.abort()
        await trio.aclose_forcefully(peer.stream)
    await trio.testing.wait_all_tasks_blocked()


async def send(connection: Connection, *messages: str) -> None:
    """Send, and let the stream take what it will."""
    for message in messages:
        await connection.send(message)
    await trio.testing.wait_all_tasks_blocked()


STALL = Fault(5, Kind.STALL)
"""Of "lost", which is 6 bytes with its header, one stays behind."""


async def test_aborted_it_is_undelivered(connect: Connect) -> None:
    connection, peer = await connect(STALL)
    await send(connection, "lost", "lost, too")
    connection.abort()
    await peer.read()
    assert peer.messages == []
    assert connection.closure.undelivered == 2


async def test_timed_out_it_is_undelivered(connect: Connect, autojump_clock) -> None:
    connection, peer = await connect(STALL, write_timeout=1)
    await send(connection, "lost")
    await peer.read()
    assert peer.messages == []
    assert isinstance(connection.closure.error, TimeoutError)
    assert connection.closure.undelivered == 1


async def test_reset_it_is_undelivered(connect: Connect) -> None:
    connection, peer = await connect(Fault(5, Kind.RESET))
    await send(connection, "lost")
    await peer.read()
    assert peer.messages == []
    assert connection.closure.undelivered == 1


async def test_closing_with_it_left_behind_is_not_clean(connect: Connect) -> None:
    connection, peer = await connect(STALL)
    await send(connection, "lost")
    await peer.close(1000)
    await trio.testing.wait_all_tasks_blocked()
    await trio.aclose_forcefully(peer.stream)
    await connection.wait_closed()
    assert connection.closure.undelivered == 1
    assert not connection.closure.clean
    with pytest.raises(ConnectionClosed):
        _ = [message async for message in connection]


async def test_taken_by_the_stream_it_is_delivered(connect: Connect) -> None:
    connection, peer = await connect(Fault(6, Kind.STALL))
    await send(connection, "kept")
    connection.abort()
    await peer.read()
    assert peer.messages == ["kept"]


@pytest.mark.parametrize("behind", ["a ping of the peer", "another ping"])
async def test_pong_that_overtakes_the_writer_is_heard(
    connect: Connect, autojump_clock, behind: str
) -> None:
    """The stream has passed the ping on and takes its time to say so; more has been queued by then."""
    connection, peer = await connect(Fault(2 + 5, Kind.DELAY, seconds=60))
    times = []

    async def ping() -> None:
        times.append(await connection.ping(b"first"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ping)
        await trio.testing.wait_all_tasks_blocked()
        if behind == "another ping":
            connection.ping_nowait(b"second")
        else:
            peer.protocol.send_ping(b"are you there?")  # goes with the pong
        nursery.start_soon(peer.read)
        with trio.move_on_after(10):
            while not times:
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert len(times) == 1
    assert connection.rtt.samples == 1
    assert connection.rtt.lost == 0


@pytest.mark.parametrize("kind", ["socket", "faulty"])
async def test_time_behind_a_large_frame_is_queue_delay(
    connect: Connect, mock_clock, kind: str
) -> None:
    """It takes many writes until the ping goes; what they take is no round-trip time."""
    ends = ENDS[kind]()
    connection, peer = await connect(ends=ends)
    await send(connection, "l" * 400_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.ping)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(5)
        ends.release()
        nursery.start_soon(peer.read)
        await trio.testing.wait_all_tasks_blocked()
        await connection.aclose()
    assert connection.rtt.samples == 1
    assert connection.rtt.last == 0
    assert connection.rtt.queue_delay == 5
