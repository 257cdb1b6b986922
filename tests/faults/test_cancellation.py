"""Every operation of a connection, cancelled at every scheduling point while its peer stalls.

Whatever the point: what `send` accepted arrives or is counted as undelivered, what it did not accept
does not arrive, no message is lost by `receive`, no frame is torn, and nothing is left behind.
"""

from __future__ import annotations

import functools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import pytest
import trio
import trio.testing

from hubws import Connection, ConnectionClosed, Settings, State
from hubws.protocol.deflate import DeflateParameters
from hubws.transport.poller import current_poller
from tests.faults.cancelling import Canceller, cancel_everywhere
from tests.faults.peer import ENDS, Peer
from tests.faults.remains import check_nobody_waits

COMMON = random.Random(0).randbytes(1000).hex()


@functools.cache
def text(number: int, size: int = 16_000) -> str:
    """A message that can be compressed to half, and better with regard to the one before it."""
    return f"{number} {COMMON}{random.Random(number).randbytes(size // 2).hex()}{COMMON}"


@attrs.define
class Pair:
    """A connection and its peer, who reads nothing until it is told to."""

    connection: Connection
    peer: Peer
    release: Callable[[], None]
    is_stream: bool
    """Whether the transport is that of streams, not of sockets."""
    accepted: list[str | bytes] = attrs.Factory(list)
    """What the connection took for sending."""
    _is_reading: bool = False

    async def send(self, message: str) -> None:
        await self.connection.send(message)
        self.accepted.append(message)

    async def fill(self) -> None:
        """Send until the outbox is full, or more than enough is on its way."""
        for number in range(10):
            try:
                self.connection.send_nowait(text(number))
            except trio.WouldBlock:
                return
            self.accepted.append(text(number))
            await trio.testing.wait_all_tasks_blocked()

    async def read(self) -> None:
        """Have the peer read to the end, or wait until it has done so."""
        self.release()
        if self._is_reading:
            await self.peer.ended.wait()
        else:
            self._is_reading = True
            await self.peer.read()

    async def read_once_all_wait(self) -> None:
        """Do so when the operation really waits, or is over."""
        await trio.testing.wait_all_tasks_blocked()
        await self.read()

    async def finish(self, *, code: int = 1000) -> None:
        """Close in order, and see that the connection was as good as new until then."""
        check_nobody_waits(self.connection)
        await self.send("after all")
        await self.connection.aclose(code)
        await self.check_delivered()
        assert self.connection.closure.clean
        assert self.peer.close_code == code
        assert not self.peer.is_torn

    async def check_delivered(self) -> None:
        """Read what is still on its way, and see that what was accepted came, but for what is told."""
        connection, peer = self.connection, self.peer
        assert connection.state is State.CLOSED
        await self.read()
        came, undelivered = len(peer.messages), connection.closure.undelivered
        assert peer.messages == self.accepted[:came]
        if self.is_stream:  # of what it was taking nobody knows
            assert came + undelivered >= len(self.accepted)
        else:
            assert came + undelivered == len(self.accepted)
        assert not (connection.closure.clean and (undelivered or peer.is_torn))
        check_nobody_waits(connection)


@attrs.frozen
class Way:
    """What lies between a connection and its peer, and which side it is on."""

    kind: str
    is_client: bool
    compressed: bool
    max_stream_size: int | None = None

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[Pair]:
        ends = ENDS[self.kind]()
        connection = Connection(
            ends.transport,
            current_poller(),
            is_client=self.is_client,
            settings=Settings(
                keepalive_interval=None,
                write_timeout=None,
                close_timeout=None,
                outbox_messages=3,
                outbox_bytes=40_000,
                inbox_messages=4,
                inbox_bytes=4_000,
                max_stream_size=self.max_stream_size,
                compression=self.compressed,
            ),
            compression=DeflateParameters() if self.compressed else None,
        )
        peer = Peer(ends.stream, is_client=not self.is_client, compressed=self.compressed)
        connection.begin()
        try:
            yield Pair(connection, peer, ends.release, self.kind != "socket")
        finally:
            connection.abort()
            await trio.aclose_forcefully(peer.stream)


@pytest.fixture(params=["client-plain", "server-deflate"])
def role(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=list(ENDS))
def way(request: pytest.FixtureRequest, role: str) -> Way:
    return Way(request.param, is_client="client" in role, compressed="deflate" in role)


Result = TypeVar("Result")


def everywhere(way: Way, scenario: Callable[[Canceller, Pair], Awaitable[Result]]) -> list[Result]:
    """Cancel a scenario at all its points; returns what it said each time, the last uncancelled."""
    results = []

    async def run(canceller: Canceller) -> None:
        async with way.pair() as pair:
            results.append(await scenario(canceller, pair))

    points = cancel_everywhere(run)
    assert len(results) == points + 1
    return results


def test_send(way: Way) -> None:
    """A send that waits for room is cancelled without a trace, or has sent all of it."""

    async def scenario(canceller: Canceller, pair: Pair) -> bool:
        await pair.fill()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.read_once_all_wait)
            with canceller.block():
                await pair.send(text(100))
            is_sent = text(100) in pair.accepted
            await pair.finish()
        return is_sent

    results = everywhere(way, scenario)
    assert results[0] is False
    assert results[-1] is True
    if way.kind != "memory":  # which takes everything at once
        assert results.count(False) > 2


def test_send_between_others(way: Way) -> None:
    """Those before and behind a cancelled send in line keep their places."""

    async def scenario(canceller: Canceller, pair: Pair) -> bool:
        await pair.fill()
        is_sent = False

        async def send_it() -> None:
            nonlocal is_sent
            with canceller.block():
                await pair.connection.send(text(101))
                is_sent = True

        async with trio.open_nursery() as reading:
            async with trio.open_nursery() as sending:
                sending.start_soon(pair.connection.send, text(100))
                await trio.testing.wait_all_tasks_blocked()
                sending.start_soon(send_it)
                await trio.testing.wait_all_tasks_blocked()
                sending.start_soon(pair.connection.send, text(102))
                reading.start_soon(pair.read_once_all_wait)
            pair.accepted += (
                [text(100), text(101), text(102)] if is_sent else [text(100), text(102)]
            )
            await pair.finish()
        return is_sent

    results = everywhere(way, scenario)
    assert results[0] is False
    assert results[-1] is True


def test_send_nowait_and_flush(way: Way) -> None:
    """What was queued goes out whole, whoever queued it is cancelled before or meanwhile."""

    async def scenario(canceller: Canceller, pair: Pair) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.read_once_all_wait)
            with canceller.block():
                await pair.fill()
                while pair.connection.queued_bytes:
                    await trio.sleep(1)
            await pair.finish()
        return len(pair.accepted)

    results = everywhere(way, scenario)
    assert min(results) < max(results) == results[-1]


def test_send_stream(way: Way) -> None:
    """Cancelled, it has sent nothing, or all, or the connection ends and says so."""

    async def scenario(canceller: Canceller, pair: Pair) -> str:
        await pair.fill()
        message = text(100)
        pieces = [message[:100], message[100:9_000], message[9_000:]]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.read_once_all_wait)
            with canceller.block() as scope:
                await pair.connection.send_stream(pieces)
            if not scope.cancelled_caught:
                pair.accepted.append(message)
            if pair.connection.state is State.OPEN:
                await pair.finish()
                return "none" if scope.cancelled_caught else "all"
            assert scope.cancelled_caught
            pair.accepted.append(message)
            await pair.connection.wait_closed()
            await pair.check_delivered()
            assert pair.connection.closure.sent.code == 1011
            assert pair.connection.closure.undelivered > 0
        return "torn"

    results = everywhere(way, scenario)
    assert results[0] == "none"
    assert results[-1] == "all"
    assert "torn" in results


def messages(count: int) -> list[str | bytes]:
    return [f"{number} {COMMON[: number * 40]}" for number in range(count)]


async def give(pair: Pair, sent: list[str | bytes]) -> None:
    """Have the peer send messages in many pieces, once somebody waits for them."""
    await trio.testing.wait_all_tasks_blocked()
    for message in sent[:-3]:
        await pair.peer.send(message, piece=150)
    await trio.testing.wait_all_tasks_blocked()
    pair.release()
    for message in sent[-3:]:
        await pair.peer.send(message)


def test_receive(way: Way) -> None:
    """Each message is returned once, whichever receive was cancelled."""

    async def scenario(canceller: Canceller, pair: Pair) -> int:
        sent = messages(11)
        received: list[str | bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give, pair, sent)
            with canceller.block():
                while len(received) < len(sent):
                    received.append(await pair.connection.receive())
            count = len(received)
            while len(received) < len(sent):
                received.append(await pair.connection.receive())
            assert received == sent
            nursery.start_soon(pair.read)
            await pair.finish()
        return count

    results = everywhere(way, scenario)
    assert results[0] == 0
    assert results[-1] == 11
    assert len(set(results)) > 2


def test_receive_stream(way: Way) -> None:
    """Waiting for a message loses nothing; leaving one early loses the rest of it, and no other."""

    async def scenario(canceller: Canceller, pair: Pair) -> str:
        sent: list[Any] = [text(1), "short", text(2, 20_000), "last"]
        received: list[Any] = []

        async def receive() -> None:
            async with pair.connection.receive_stream() as message:
                received.append("")
                async for piece in message:
                    received[-1] += piece

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give, pair, sent)
            with canceller.block():
                while len(received) < len(sent):
                    await receive()
            whole = sum(map(sent.__contains__, received))
            count = len(received)
            while len(received) < len(sent):
                received.append(await pair.connection.receive())
            nursery.start_soon(pair.read)
            await pair.finish()
            for index, message in enumerate(sent):
                assert message == received[index] or (
                    index == count - 1 and message.startswith(received[index])
                )
        return "between" if whole == count else "within"

    results = everywhere(attrs.evolve(way, max_stream_size=2**21), scenario)
    assert results[0] == results[-1] == "between"
    assert "within" in results


def test_receive_among_others(way: Way) -> None:
    """A cancelled receiver keeps no message from the others who wait."""

    async def scenario(canceller: Canceller, pair: Pair) -> bool:
        sent = messages(3)
        received: list[str | bytes] = []

        async def receive() -> None:
            received.append(await pair.connection.receive())

        async def receive_it() -> None:
            with canceller.block():
                await receive()

        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as receiving:
                receiving.start_soon(receive)
                receiving.start_soon(receive_it)
                receiving.start_soon(receive)
                nursery.start_soon(give, pair, sent)
            was_taken = len(received) == len(sent)
            if not was_taken:
                received.append(await pair.connection.receive())
            assert sorted(map(str, received)) == sent
            nursery.start_soon(pair.read)
            await pair.finish()
        return was_taken

    results = everywhere(way, scenario)
    assert results[0] is False
    assert results[-1] is True


def test_iteration(way: Way) -> None:
    """Another iteration goes on where one was cancelled, to the end."""

    async def scenario(canceller: Canceller, pair: Pair) -> int:
        sent = messages(11)
        received: list[str | bytes] = []

        async def iterate() -> None:
            async for message in pair.connection:
                received.append(message)  # noqa: PERF401 - one by one, for it is cancelled

        async def give_and_close() -> None:
            await give(pair, sent)
            await pair.peer.close(1001)
            await pair.read()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_and_close)
            with canceller.block():
                await iterate()
            count = len(received)
            await iterate()
            assert received == sent
            await pair.connection.wait_closed()
            await pair.check_delivered()
            assert pair.connection.closure.normal
        return count

    results = everywhere(way, scenario)
    assert results[0] == 0
    assert results[-1] == 11
    assert len(set(results)) > 2


def test_ping(way: Way) -> None:
    """A cancelled ping leaves nobody waiting; its pong still counts."""

    async def scenario(canceller: Canceller, pair: Pair) -> bool:
        await pair.fill()
        is_back = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.read_once_all_wait)
            with canceller.block():
                await pair.connection.ping(b"first")
                is_back = True
            check_nobody_waits(pair.connection)
            await pair.connection.ping(b"second")
            rtt = pair.connection.rtt
            assert rtt.samples == (2 if b"first" in pair.peer.pings else 1)
            assert rtt.lost == 0
            await pair.finish()
        return is_back

    results = everywhere(way, scenario)
    assert results[0] is False
    assert results[-1] is True
    assert results.count(False) > 2


def test_aclose(way: Way) -> None:
    """Cancelled, it ends the connection at once, and says what was left behind."""

    async def scenario(canceller: Canceller, pair: Pair) -> bool:
        await pair.fill()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.read_once_all_wait)
            with canceller.block() as scope:
                await pair.connection.aclose(4000, "enough")
            await pair.check_delivered()
            assert pair.connection.closure.sent is None or pair.connection.closure.sent.code == 4000
            if not scope.cancelled_caught:
                assert pair.connection.closure.clean
                assert pair.peer.close_code == 4000
                assert not pair.peer.is_torn
        return not scope.cancelled_caught

    results = everywhere(way, scenario)
    assert results[0] is False
    assert results[-1] is True
    assert results.count(False) > 2


def test_wait_closed(way: Way) -> None:
    """Cancelling it changes nothing."""

    async def scenario(canceller: Canceller, pair: Pair) -> bool:
        async def close() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await pair.peer.close(4001)
            await pair.read()

        await pair.send("hello")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            with canceller.block() as scope:
                await pair.connection.wait_closed()
            await pair.connection.wait_closed()
            await pair.check_delivered()
            assert pair.connection.close_code == pair.peer.close_code == 4001
        return not scope.cancelled_caught

    results = everywhere(way, scenario)
    assert results[0] is False
    assert results[-1] is True


def test_send_while_the_peer_closes(way: Way) -> None:
    """A send that fails, or is cancelled, has sent nothing; what is given up is counted."""

    async def scenario(canceller: Canceller, pair: Pair) -> str:
        async def close() -> None:
            await trio.testing.wait_all_tasks_blocked()
            await pair.peer.close(4001)
            await pair.read()

        await pair.fill()
        result = "cancelled"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            with canceller.block():
                try:
                    await pair.send(text(100))
                    result = "sent"
                except ConnectionClosed:
                    result = "closed"
            await pair.connection.wait_closed()
            await pair.check_delivered()
            assert pair.peer.close_code == 4001
        return result

    results = everywhere(way, scenario)
    assert results[0] == "cancelled"
    assert results[-1] == ("sent" if way.kind == "memory" else "closed")
