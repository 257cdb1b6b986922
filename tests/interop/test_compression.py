"""Compressed messages to and from another library, whatever is agreed on."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

import hubws

pytestmark = [
    pytest.mark.parametrize("library", ["websockets"], indirect=True),
    pytest.mark.parametrize(
        "compression",
        [
            hubws.Deflate(),
            hubws.Deflate(server_no_context_takeover=True, client_no_context_takeover=True),
            hubws.Deflate(server_max_window_bits=9, client_max_window_bits=9, level=9, min_size=0),
            hubws.Deflate(compress=False),
        ],
        ids=["default", "no takeover", "small windows", "only receiving"],
        indirect=True,
    ),
]

MESSAGES: list[str | bytes] = [
    *(json.dumps({"number": number, "words": "to be or not to be " * 5}) for number in range(50)),
    *("", "short", b"", b"short", bytes(100_000), "é" * 40_000),
    *(bytes(range(256)) * number for number in range(20)),
]


async def test_there_and_back(open_pair) -> None:
    async with open_pair() as (connection, peer):
        assert connection.compression is not None
        for message in MESSAGES:
            await peer.send(message)
        assert [await connection.receive() for _ in MESSAGES] == MESSAGES
        size = sum(len(m if isinstance(m, bytes) else m.encode()) for m in MESSAGES)
        assert connection.statistics().bytes_received < size / 4
        for message in MESSAGES:
            await connection.send(message)
        assert [await peer.receive() for _ in MESSAGES] == MESSAGES
        if connection.settings.compression.compress:
            assert connection.statistics().bytes_sent < size / 4


async def test_fragments(open_pair) -> None:
    text = ["Grüße, ", "", "世界", " 🎉" * 1000]
    binary = [bytes(range(256)) * 20] * 20
    async with open_pair() as (connection, peer), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(peer.send, text)
            assert await connection.receive() == "".join(text)
            nursery.start_soon(peer.send, binary)
            assert await connection.receive() == b"".join(binary)


async def test_pieces_among_whole_messages(open_pair) -> None:
    text = ["word " * 100, "", "世界 " * 300]
    async with open_pair() as (connection, peer), trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(connection.send_stream, text)
            await trio.testing.wait_all_tasks_blocked()
            await connection.send("word " * 100 + "世界 " * 300)
            assert await peer.receive() == "".join(text)
            assert await peer.receive() == "word " * 100 + "世界 " * 300
