"""Messages encoded once, whatever the number of members and their ways of taking them."""

from __future__ import annotations

import random

import pytest
import trio

import hubws
from hubws import Connection, Deflate, DeflateParameters, LocalProtocolError, Policy, Prepared
from hubws.connection import prepared
from hubws.protocol.deflate import Deflater
from tests.connection.pairs import Pairs

TAKEOVER = DeflateParameters()
ALONE = DeflateParameters(server_no_context_takeover=True)
SMALL = DeflateParameters(server_max_window_bits=9)


def make_deflater(bits: int = 12) -> Deflater:
    return Deflater(bits=bits, takeover=False, settings=Deflate())


class TestFrames:
    def test_plain(self) -> None:
        assert Prepared("héllo").frame(Policy.DISCONNECT, None) == b"\x81\x06h\xc3\xa9llo"
        assert Prepared(bytearray(b"ab")).frame(Policy.DISCONNECT, None) == b"\x82\x02ab"

    def test_are_made_once(self) -> None:
        message = Prepared("word " * 100)
        plain = message.frame(Policy.LATEST, "key")
        assert message.frame(Policy.LATEST, "key") is plain
        assert (plain.policy, plain.key, plain.source) == (Policy.LATEST, "key", message)
        compressed = message.compressed(plain, make_deflater())
        assert message.compressed(plain, make_deflater()) is compressed
        assert (compressed.policy, compressed.key) == (Policy.LATEST, "key")
        assert compressed[0] == 0xC1
        assert len(compressed) < 40
        assert message.compressed(plain, make_deflater(9)) is not compressed
        assert message.frame(Policy.DISCONNECT, "key") == plain

    def test_what_would_grow_is_left_as_it_is(self) -> None:
        for content in (random.Random(1).randbytes(100), "short"):
            message = Prepared(content)
            plain = message.frame(Policy.LATEST, None)
            assert message.compressed(plain, make_deflater()) is plain

    def test_memory_is_bounded(self) -> None:
        message = Prepared("x")
        for number in range(10 * prepared.MAX_FRAMES):
            message.frame(Policy.LATEST, number)
        assert len(message._frames) <= prepared.MAX_FRAMES

    def test_what_is_no_message(self) -> None:
        with pytest.raises(TypeError, match="a message is str or bytes-like, not 5"):
            Prepared(5)  # type: ignore[arg-type]
        with pytest.raises(LocalProtocolError, match="lone surrogate"):
            Prepared("\ud800")

    def test_says_what_it_is(self) -> None:
        assert repr(Prepared("hi")) == "<Prepared 'hi'>"
        buffer = bytearray(b"ab")
        message = Prepared(buffer)
        buffer[0] = 0
        assert message.message == b"ab"


async def test_members_that_take_it_differently() -> None:
    """Broadcasts between messages of the connection's own, which refer to each other."""
    pairs = Pairs("socket")
    clients: list[Connection] = []
    async with hubws.open_hub() as hub:
        for agreed in (None, TAKEOVER, ALONE, SMALL, TAKEOVER):
            client, server = pairs(compression=Deflate(), agreed=agreed)
            hub.register(server)
            clients.append(client)
        for agreed in (None, TAKEOVER):
            masked, client = pairs(compression=Deflate(), agreed=agreed)
            hub.register(masked)
            clients.append(client)
        message = Prepared("to all, " * 50)
        for number in range(10):
            for server in hub.connections:
                await server.send(f"{number} to one, " * 50)
            assert hub.broadcast(message).sent == 7
            for client in clients:
                with trio.fail_after(10):
                    assert await client.receive() == f"{number} to one, " * 50
                    assert await client.receive() == message.message
        assert len(message._compressed) == 2
    sizes = [client.statistics().bytes_received for client in clients]
    assert max(sizes[1:5]) < sizes[0] / 5
    await pairs.end()
