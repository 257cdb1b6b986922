"""hubws/cli/lines.py: the lines of a pipe or file. The prompt is tested with `connect`."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from hubws.cli import lines
from hubws.cli.lines import InputLines


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"one", [b"one"]),
        (b"one\n", [b"one"]),
        (b"one\n\ntwo\r\n\xff", [b"one", b"", b"two\r", b"\xff"]),
    ],
)
async def test_lines(data: bytes, expected: list[bytes]):
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        taken = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def take() -> None:
                taken.extend([line async for line in InputLines(reader.fileno())])

            for byte in data:
                writer.write(bytes([byte]))
                writer.flush()
                await trio.testing.wait_all_tasks_blocked()
            writer.close()
        assert taken == expected


async def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lines, "MAX_LINE", 1000)
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        writer.write(b"short\n" + b"x" * 1001)
        writer.flush()
        source = InputLines(reader.fileno())
        with pytest.raises(ValueError, match="longer than 1000 bytes"):
            await anext(source)
