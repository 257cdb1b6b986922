"""Bytes that were read too early come first."""

from __future__ import annotations

import trio
import trio.testing

from hubws.client.exchange import StreamWithRest


class TestStreamWithRest:
    async def test_reading(self) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        stream = StreamWithRest(ours, b"abcdef")
        assert stream.transport_stream is ours
        assert await stream.receive_some(4) == b"abcd"
        await theirs.send_all(b"ghi")
        assert await stream.receive_some() == b"ef"
        assert await stream.receive_some(2) == b"gh"
        assert await stream.receive_some() == b"i"
        await theirs.aclose()
        assert await stream.receive_some() == b""

    async def test_reading_can_be_cancelled_and_loses_nothing(self) -> None:
        ours, _ = trio.testing.memory_stream_pair()
        stream = StreamWithRest(ours, b"abc")
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.receive_some()
        assert scope.cancelled_caught
        assert await stream.receive_some() == b"abc"

    async def test_writing_and_closing(self) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        stream = StreamWithRest(ours, b"abc")
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"xyz")
        await stream.aclose()
        assert await theirs.receive_some() == b"xyz"
        assert await theirs.receive_some() == b""
