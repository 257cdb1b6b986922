"""hubws/bench/lines.py: lines, however long they are."""

from __future__ import annotations

import time

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


class Long(trio.abc.ReceiveStream):
    """A line of so many chunks."""

    def __init__(self, chunks: int) -> None:
        self._left = chunks

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._left -= 1
        return b"x" * (max_bytes or 0) if self._left >= 0 else b"\n"

    async def aclose(self) -> None:
        pass


async def test_a_long_line_is_not_read_anew_with_each_chunk():
    began = time.process_time()
    assert len(await Lines(Long(400)).next()) == 400 * CHUNK
    assert time.process_time() - began < 1
