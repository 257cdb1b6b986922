"""Asking once over a stream that something else will use afterwards."""

from __future__ import annotations

import trio

from ..protocol.http import Response, ResponseReader

READ = 16 * 1024
"""How much of an answer is read at once, in bytes."""


async def exchange(
    stream: trio.abc.Stream, request: bytes, reader: ResponseReader
) -> tuple[Response, bytes]:
    """Send a request and read the answer; returns it and what came behind it."""
    try:
        await stream.send_all(request)
        while True:
            data = bytes(await stream.receive_some(READ))
            if not data:
                return reader.receive_eof(), b""
            response = reader.receive_data(data)
            if response is not None:
                return response, reader.rest
    except trio.BrokenResourceError as error:
        raise reader.error(
            f"the connection broke before {reader.sender} answered: {error}"
        ) from error


class StreamWithRest(trio.abc.Stream):
    """A stream of which some bytes have been read already: they come first."""

    def __init__(self, stream: trio.abc.Stream, rest: bytes) -> None:
        self.transport_stream = stream
        self._rest = rest

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.transport_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport_stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._rest:
            return await self.transport_stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._rest) if max_bytes is None else max_bytes
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def aclose(self) -> None:
        await self.transport_stream.aclose()
