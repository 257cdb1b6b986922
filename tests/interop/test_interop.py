"""What hubws and other libraries say to each other arrives as it was said."""

from __future__ import annotations

import pytest
import trio

import hubws

MESSAGES = ["", "plain", "Grüße, 世界 🎉", b"", bytes(range(256)), "é" * 40_000]
MEGABYTE = bytes(range(250)) * 4_000


async def test_messages_from_the_peer(open_pair) -> None:
    async with open_pair() as (connection, peer):
        for message in MESSAGES:
            await peer.send(message)
        assert [await connection.receive() for _ in MESSAGES] == MESSAGES


async def test_messages_to_the_peer(open_pair) -> None:
    async with open_pair() as (connection, peer):
        for message in MESSAGES:
            await connection.send(message)
        assert [await peer.receive() for _ in MESSAGES] == MESSAGES


async def test_a_megabyte_there_and_back(open_pair) -> None:
    async with open_pair() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.send, MEGABYTE)
        nursery.start_soon(peer.send, await peer.receive())
        assert await connection.receive() == MEGABYTE


@pytest.mark.parametrize("library", ["websockets"], indirect=True)
async def test_fragments(open_pair) -> None:
    text = ["Grüße, ", "", "世界", " 🎉" * 1000]
    binary = [MEGABYTE[at : at + 9_999] for at in range(0, len(MEGABYTE), 9_999)]
    async with open_pair() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send, text)
        assert await connection.receive() == "".join(text)
        nursery.start_soon(peer.send, binary)
        assert await connection.receive() == MEGABYTE


async def test_messages_in_pieces(open_pair) -> None:
    text = ["Grüße, ", "", "世界", " 🎉" * 1000]
    async with open_pair() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.send_stream, text)
        assert await peer.receive() == "".join(text)
        nursery.start_soon(connection.send_stream, [MEGABYTE[:600_000], MEGABYTE[600_000:]])
        assert await peer.receive() == MEGABYTE
        nursery.start_soon(peer.send, MEGABYTE)
        async with connection.receive_stream() as message:
            assert b"".join([piece async for piece in message]) == MEGABYTE


async def test_pings(open_pair) -> None:
    async with open_pair() as (connection, peer):
        assert await peer.ping(b"from the peer")
        assert await connection.ping(b"from hubws") > 0
        assert await connection.ping() > 0
        assert connection.rtt.samples == 2


async def test_hubws_closes(open_pair) -> None:
    async with open_pair() as (connection, peer), trio.open_nursery() as nursery:
        await connection.send("last words")
        nursery.start_soon(connection.aclose, 4321, "genug für heute")
        assert await peer.receive() == "last words"
        assert await peer.closed() == (4321, "genug für heute")
        await connection.wait_closed()
        assert connection.closure.clean
        assert connection.closure.sent == hubws.Close(4321, "genug für heute")


async def test_the_peer_closes(open_pair) -> None:
    async with open_pair() as (connection, peer):
        await peer.send("last words")
        await peer.close(4321, "genug für heute")
        assert await connection.receive() == "last words"
        with pytest.raises(hubws.ConnectionClosed) as caught:
            await connection.receive()
        assert (caught.value.code, caught.value.reason) == (4321, "genug für heute")
        await connection.wait_closed()
        assert connection.closure.clean


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"), [(["b", "a"], ["x", "a"], "a"), (["a"], [], None)]
)
async def test_subprotocol(open_pair, ours, theirs, chosen) -> None:
    async with open_pair(ours, theirs) as (connection, peer):
        assert connection.subprotocol == peer.subprotocol == chosen


@pytest.mark.parametrize("hubws_is", ["server"], indirect=True)
async def test_server_that_chooses_no_subprotocol(open_pair) -> None:
    async with open_pair([], ["a", "b"]) as (connection, peer):
        assert connection.subprotocol is peer.subprotocol is None
