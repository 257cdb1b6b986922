"""A peer that does as it is told, also what no peer may do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Self

import attrs
import trio

from ..connection.mask_keys import next_mask_key
from ..protocol.address import Address
from ..protocol.frames import Frame
from ..protocol.handshake import build_acceptance, build_request, check_request
from ..protocol.http import HeaderPairs, Request, RequestReader, Response, ResponseReader
from .memory import URL, MemoryServer

CHUNK = 64 * 1024


class ScriptedPeer:
    """One end of a stream, for tests of what is at the other.

    It sends what it is given and shows every frame that comes; it answers nothing by itself.

    Args:
        stream: any `trio.abc.Stream`.
        is_client: whether it masks the frames that have no masking key.

    """

    def __init__(self, stream: trio.abc.Stream, *, is_client: bool) -> None:
        self.stream = stream
        self.is_client = is_client
        self._received = b""

    @classmethod
    async def dial(cls, server: MemoryServer, path: str = "/", headers: HeaderPairs = ()) -> Self:
        """A client of a server in memory, with the opening handshake done."""
        peer = cls(server.listener.dial(), is_client=True)
        response = await peer.upgrade(path, headers)
        assert response.status == 101, response
        return peer

    async def upgrade(
        self, path: str = "/", headers: HeaderPairs = (), subprotocols: Sequence[str] = ()
    ) -> Response:
        """Ask for an upgrade, as a client does; returns the answer."""
        address = attrs.evolve(Address.from_url(URL), target=path)
        await self.stream.send_all(
            build_request(address, os.urandom(16), headers=headers, subprotocols=subprotocols)
        )
        reader = ResponseReader()
        while (response := reader.receive_data(await self._receive())) is None:
            pass
        self._received = reader.rest
        return response

    async def accept(self, subprotocol: str | None = None) -> Request:
        """Wait for a client's opening handshake and take it, as a server does."""
        reader = RequestReader()
        while (request := reader.receive_data(await self._receive())) is None:
            pass
        self._received = reader.rest
        key = check_request(request, request.headers)
        await self.stream.send_all(build_acceptance(key, subprotocol))
        return request

    async def send(self, *what: Frame | bytes) -> None:
        """Send frames, or bytes as they are."""
        for one in what:
            if isinstance(one, bytes):
                await self.stream.send_all(one)
                continue
            frame = one
            if self.is_client and frame.mask_key is None:
                frame = attrs.evolve(frame, mask_key=next_mask_key())
            await self.stream.send_all(frame.to_bytes())

    async def receive(self) -> Frame:
        """The next frame; trio.EndOfChannel when the stream has ended instead."""
        while (read := Frame.from_bytes(self._received)) is None:
            self._received += await self._receive()
        frame, size = read
        self._received = self._received[size:]
        return frame

    async def receive_end(self) -> None:
        """Wait for the end of the stream; AssertionError when anything comes before it."""
        try:
            frame = await self.receive()
        except trio.EndOfChannel:
            assert not self._received, f"the stream ended within a frame: {self._received!r:.80}"
        else:
            raise AssertionError(f"a frame came before the end of the stream: {frame}")

    async def _receive(self) -> bytes:
        try:
            data = bytes(await self.stream.receive_some(CHUNK))
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise trio.EndOfChannel("the stream has ended")
        return data
