"""Lines between the processes of a load test."""

from __future__ import annotations

import trio

CHUNK = 65536
"""How much is read at once, in bytes."""


class Lines:
    """Reads line by line, however long they are: a share of the plan has its message in it."""

    def __init__(self, source: trio.abc.ReceiveStream) -> None:
        self._source = source
        self._rest = b""

    async def next(self) -> bytes:
        """The next line, without its end; empty when there is none any more."""
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            data = await self._source.receive_some(CHUNK)
            if not data:
                return b""
            parts.append(bytes(data))
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line
