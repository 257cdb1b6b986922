"""hubws/bench/lines.py: lines, however long they are."""

from __future__ import annotations

import trio
from trio.testing import memory_stream_pair

from hubws.bench.lines import CHUNK, Lines


async def test_lines_and_their_end():
    near, far = memory_stream_pair()
    lines = Lines(near)
    await far.send_all(b"one\ntw")
    assert await lines.next() == b"one"
    await far.send_all(b"o\nthree\nunfin")
    assert await lines.next() == b"two"
    assert await lines.next() == b"three"
    await far.aclose()
    assert await lines.next() == b""


class Chunk(bytes):
    """Some of a line, which nobody may add to what came before: that would copy all of it again."""

    def __radd__(self, before: object) -> bytes:
        raise AssertionError("what came before is copied with each chunk")


class Long(trio.abc.ReceiveStream):
    """A line of so many chunks."""

    def __init__(self, chunks: int) -> None:
        self._left = chunks

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._left -= 1
        return Chunk(b"x" * (max_bytes or 0) if self._left >= 0 else b"\n")

    async def aclose(self) -> None:
        pass


async def test_a_long_line_is_not_copied_anew_with_each_chunk():
    assert len(await Lines(Long(4)).next()) == 4 * CHUNK
