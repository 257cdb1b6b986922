"""Clients and backends that are nothing but byte streams, on either side of a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from hubws import Frame
from hubws.protocol.handshake import accept_key
from tests.server.conftest import RawClient


class RawBackend(RawClient):
    """A backend that says whatever a test says."""

    target = ""
    lines: list[tuple[str, str]]
    """The request's."""

    async def send(self, data: bytes | Frame) -> None:
        await self.stream.send_all(data.to_bytes() if isinstance(data, Frame) else data)

    async def request(self) -> list[tuple[str, str]]:
        """Read a request's head; its header lines."""
        while b"\r\n\r\n" not in self.buffer:
            assert await self._more(), f"the stream ended after {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.target = first.split(" ")[1]
        self.lines = [(name, value) for name, value in (line.split(": ", 1) for line in lines)]
        return self.lines

    def header(self, name: str) -> str | None:
        """The values of a header of the request, joined."""
        values = [value for other, value in self.lines if other.lower() == name.lower()]
        return ", ".join(values) if values else None

    def acceptance(self, *more: str) -> bytes:
        """The 101 for the request, with more header lines."""
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(self.header('Sec-WebSocket-Key') or '')}",
            *more,
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def accept(self, *more: str, behind: bytes = b"") -> None:
        """Read the request and answer 101, with more header lines and bytes behind it."""
        await self.request()
        await self.send(self.acceptance(*more) + behind)

    async def received(self, size: int) -> bytes:
        """That many bytes."""
        while len(self.buffer) < size:
            assert await self._more(), f"the stream ended after {len(self.buffer)} bytes"
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data


class Listening:
    """Where backends are dialled."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self.port: int = listener.socket.getsockname()[1]
        self.peers: list[RawBackend] = []

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def next(self) -> RawBackend:
        """Who is dialled next."""
        peer = RawBackend(await self._listener.accept())
        self.peers.append(peer)
        return peer

    async def close(self) -> None:
        """Nobody is there any more."""
        await self._listener.aclose()


@asynccontextmanager
async def listening(port: int = 0) -> AsyncIterator[Listening]:
    """Listen as a backend."""
    [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
    place = Listening(listener)
    try:
        yield place
    finally:
        for peer in place.peers:
            await trio.aclose_forcefully(peer.stream)
        await trio.aclose_forcefully(listener)
