"""A server that clients reach without a socket: the real server, the real client, pipes between."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import trio
import trio.testing

from ..client.connect import connect
from ..connection.background import open_background
from ..connection.callbacks import Callbacks
from ..connection.connection import Connection
from ..server.accept import Handler
from ..server.serve import serve
from ..server.server import Server
from .plan import Plan
from .stream import FaultyStream

URL = "ws://memory.invalid/"

BACKLOG = 100
"""How many streams may wait to be accepted."""

FLAWLESS = Plan()


class MemoryListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """A listener to which streams in memory lead."""

    def __init__(self) -> None:
        self._dialled, self._accepted = trio.open_memory_channel[trio.abc.HalfCloseableStream](
            BACKLOG
        )

    def dial(self, plan: Plan = FLAWLESS) -> FaultyStream:
        """A stream to whoever accepts, which goes wrong by plan.

        It holds nothing: sending waits until the other end has taken all of it.
        ConnectionRefusedError when nobody accepts any more; trio.WouldBlock when over a hundred
        streams wait to be accepted.
        """
        near, far = trio.testing.lockstep_stream_pair()
        try:
            self._dialled.send_nowait(far)
        except trio.BrokenResourceError:
            raise ConnectionRefusedError("nobody listens in memory any more") from None
        return FaultyStream(near, plan)

    async def accept(self) -> trio.abc.HalfCloseableStream:
        """The other end of the next stream that is dialled."""
        return await self._accepted.receive()

    async def aclose(self) -> None:
        """Accept no more."""
        await self._accepted.aclose()


class MemoryServer:
    """A server in memory. `open_server` makes it.

    Attributes: `server`, as `hubws.serve` gives it; `listener`, which raw streams can be dialled to.
    """

    def __init__(self, server: Server, listener: MemoryListener) -> None:
        self.server = server
        self.listener = listener

    @contextlib.asynccontextmanager
    async def connect(
        self, path: str = "/", *, plan: Plan = FLAWLESS, **options: Any
    ) -> AsyncIterator[Connection]:
        """Connect to the server for as long as the block runs.

        Args:
            path: of the URL, with its query.
            plan: what goes wrong on the way.
            **options: as `hubws.connect` takes them.

        """
        stream = self.listener.dial(plan)
        async with connect(URL + path.removeprefix("/"), stream=stream, **options) as connection:
            yield connection


@contextlib.asynccontextmanager
async def open_server(handler: Handler | Callbacks, **options: Any) -> AsyncIterator[MemoryServer]:
    """Serve in memory for as long as the block runs, and close all connections with 1001 after it.

        async with hubws.testing.open_server(chat) as server:
            async with server.connect("/lobby") as ada:
                await ada.send("hello")

    Takes what `hubws.serve` takes, but for where to listen. The handshake is done, with its checks of
    headers and Origin; there are no addresses: `connection.remote` is None.
    """
    listener = MemoryListener()
    async with open_background() as nursery:
        server = await nursery.start(partial(serve, handler, listeners=[listener], **options))
        yield MemoryServer(server, listener)


def open_pair(
    *, server: dict[str, Any] | None = None, client: dict[str, Any] | None = None, **settings: Any
) -> AbstractAsyncContextManager[tuple[Connection, Connection]]:
    """Two connections that are each other's peer: the client's and the server's.

        async with hubws.testing.open_pair(compression=True) as (client, server):
            await client.send("hello")
            assert await server.receive() == "hello"

    Args:
        server: more options of the server's, as `hubws.serve` takes them.
        client: more options of the client's, as `hubws.connect` takes them.
        **settings: of both.

    """
    return _open_pair({**settings, **(server or {})}, {**settings, **(client or {})})


@contextlib.asynccontextmanager
async def _open_pair(
    server_options: dict[str, Any], client_options: dict[str, Any]
) -> AsyncIterator[tuple[Connection, Connection]]:
    opened: list[Connection] = []
    is_open, is_over = trio.Event(), trio.Event()

    async def handler(connection: Connection) -> None:
        opened.append(connection)
        is_open.set()
        await is_over.wait()

    async with open_server(handler, **server_options) as memory:
        try:
            async with memory.connect(**client_options) as client:
                await is_open.wait()
                yield client, opened[0]
        finally:
            is_over.set()
