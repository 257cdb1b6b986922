"""The proxy does to each connection what its plan says, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from hubws.testing.plan import Fault, Kind, Plan
from tests.faults.proxy import Proxy

DATA = bytes(range(256)) * 400


Link = tuple[trio.SocketStream, trio.SocketStream, Proxy]


@pytest.fixture
async def link() -> AsyncIterator[Callable[[Plan], Awaitable[Link]]]:
    """Connects through a proxy with a plan: gives the client's stream and the server's."""
    async with _opened() as (nursery, opened):

        async def connect(plan: Plan) -> Link:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            proxy = Proxy(lambda: plan, listener.socket.getsockname()[1])
            await nursery.start(proxy.run)
            client = await trio.open_tcp_stream("127.0.0.1", proxy.port)
            server = await listener.accept()
            opened.extend([client, server, listener])
            return client, server, proxy

        yield connect


@asynccontextmanager
async def _opened() -> AsyncIterator[tuple[trio.Nursery, list[trio.abc.AsyncResource]]]:
    opened: list[trio.abc.AsyncResource] = []
    async with trio.open_nursery() as nursery:
        yield nursery, opened
        nursery.cancel_scope.cancel()
    for one in opened:
        await trio.aclose_forcefully(one)


async def read(stream: trio.SocketStream) -> tuple[bytes, bool]:
    """All that comes, and whether the stream was reset at the end of it."""
    received = bytearray()
    try:
        while data := await stream.receive_some(65536):
            received += data
    except trio.BrokenResourceError as error:
        return bytes(received), isinstance(error.__cause__, ConnectionResetError)
    return bytes(received), False


async def send(stream: trio.SocketStream, data: bytes = DATA) -> None:
    """Send as much as can be sent, then the end."""
    try:
        await stream.send_all(data)
        await stream.send_eof()
    except trio.BrokenResourceError:
        pass


async def test_without_faults_all_passes_both_ways(link) -> None:
    client, server, proxy = await link(Plan())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, client)
        nursery.start_soon(send, server, DATA[::-1])
        assert await read(server) == (DATA, False)
        assert await read(client) == (DATA[::-1], False)
    assert proxy.passed == [len(DATA), len(DATA)]
    assert proxy.links == 1


@pytest.mark.parametrize("at", [0, 1, 77_777, len(DATA)])
@pytest.mark.parametrize("to_server", [True, False])
async def test_reset_comes_after_exactly_so_many_bytes(link, at: int, to_server: bool) -> None:
    faults = (Fault(at, Kind.RESET),)
    client, server, proxy = await link(Plan(faults) if to_server else Plan((), faults))
    source, sink = (client, server) if to_server else (server, client)
    results = []

    async def note(stream: trio.SocketStream) -> None:
        results.append((stream, *await read(stream)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(note, sink)
        nursery.start_soon(note, source)
        nursery.start_soon(send, source)
    assert proxy.passed == ([at, 0] if to_server else [0, at])
    assert proxy.done == {Kind.RESET: 1}
    for stream, received, was_reset in results:
        assert was_reset
        assert DATA[:at].startswith(received)
        assert stream is sink or not received


async def test_end_is_an_end_in_one_direction(link) -> None:
    client, server, proxy = await link(Plan((Fault(1000, Kind.END),)))
    await client.send_all(DATA[:2000])
    assert await read(server) == (DATA[:1000], False)
    await server.send_all(DATA[:3000])
    await server.send_eof()
    received, _ = await read(client)
    assert received == DATA[:3000]
    assert proxy.passed == [1000, 3000]


async def test_stall_holds_one_direction_back(link) -> None:
    client, server, proxy = await link(Plan((Fault(1000, Kind.STALL),)))
    enough = bytes(64 * 1024 * 1024)  # more than all buffers on the way
    sent = False

    async def send_much() -> None:
        nonlocal sent
        try:
            await client.send_all(enough)
            sent = True
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_much)
        received = b""
        while len(received) < 1000:
            received += await server.receive_some(65536)
        await server.send_all(b"the other direction")
        assert await client.receive_some(1000) == b"the other direction"
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not sent
        assert proxy.passed[0] == len(received) == 1000
        await server.aclose()  # which the stalled direction would never notice
    assert not sent


async def test_delay_and_split_change_no_byte(link) -> None:
    faults = (
        Fault(0, Kind.SPLIT, length=20, size=1),
        Fault(5, Kind.DELAY, seconds=0.01),
        Fault(30_000, Kind.SPLIT, length=300, size=7),
        Fault(90_000, Kind.DELAY, seconds=0.01),
    )
    client, server, proxy = await link(Plan(faults, faults))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, client)
        nursery.start_soon(send, server, DATA[::-1])
        first = await server.receive_some(65536)
        assert len(first) <= 20  # it was not sent in one piece
        rest, was_reset = await read(server)
        assert (first + rest, was_reset) == (DATA, False)
        assert await read(client) == (DATA[::-1], False)
    assert proxy.done == {Kind.SPLIT: 4, Kind.DELAY: 4}


@pytest.mark.parametrize("who", ["client", "server"])
async def test_reset_by_an_end_is_passed_on(link, who: str) -> None:
    client, server, _ = await link(Plan())
    await client.send_all(b"hello")
    assert await server.receive_some(10) == b"hello"
    one, other = (client, server) if who == "client" else (server, client)
    await other.send_all(DATA)  # unread when it closes: that resets
    await trio.testing.wait_all_tasks_blocked(0.02)
    await one.aclose()
    assert await read(other) == (b"", True)


async def test_each_connection_has_its_own_plan() -> None:
    plans = iter([Plan((Fault(3, Kind.END),)), Plan((Fault(5, Kind.END),)), Plan()])
    async with _opened() as (nursery, opened):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy = Proxy(lambda: next(plans), listener.socket.getsockname()[1])
        await nursery.start(proxy.run)
        received = []
        for _ in range(3):
            client = await trio.open_tcp_stream("127.0.0.1", proxy.port)
            server = await listener.accept()
            opened += [client, server]
            await send(client, b"0123456789")
            received.append((await read(server))[0])
        opened.append(listener)
    assert received == [b"012", b"01234", b"0123456789"]


async def test_nobody_behind_it_is_a_reset() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with trio.open_nursery() as nursery:
        proxy = Proxy(Plan, port)
        await nursery.start(proxy.run)
        async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as client:
            assert await read(client) == (b"", True)
        nursery.cancel_scope.cancel()
