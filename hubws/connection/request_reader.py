"""Requests on a connection that is read for them, so that they can be awaited anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Unpack

import trio

from ..errors import ConnectionClosed
from .background import open_background
from .connection import Connection
from .requests import RequestArguments, Requests, Serve


class OpenRequests(Requests):
    """Requests whose connection is read by a task; see `open_requests`."""

    def __init__(
        self,
        connection: Connection,
        serve: Serve | None,
        nursery: trio.Nursery,
        limit: int,
        arguments: RequestArguments,
    ) -> None:
        super().__init__(connection, serve, nursery, **arguments)
        self._others, self._messages = trio.open_memory_channel[str | bytes](limit)

    async def read(self) -> None:
        """Take the connection's messages until it ends."""
        with self._others, contextlib.suppress(ConnectionClosed):
            while True:
                message = await self.connection.receive()
                try:
                    is_mine = self.take(message)
                except Exception as error:  # noqa: BLE001 - logged there
                    self.connection.fail_for(error)
                    return
                if not is_mine:
                    await self._others.send(message)

    def __aiter__(self) -> OpenRequests:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except ConnectionClosed as closed:
            if closed.closure.normal:
                raise StopAsyncIteration from None
            raise

    async def receive(self) -> str | bytes:
        """Wait for the next message that is neither a request nor an answer.

        Raises ConnectionClosed, as `Connection.receive`.
        """
        try:
            return await self._messages.receive()
        except trio.EndOfChannel:
            closure = self.connection.closure
            assert closure is not None
            raise ConnectionClosed(closure) from None


@contextlib.asynccontextmanager
async def open_requests(
    connection: Connection,
    serve: Serve | None = None,
    *,
    limit: int = 64,
    **arguments: Unpack[RequestArguments],
) -> AsyncIterator[OpenRequests]:
    """Read a connection while the block runs: for requests, answers, and other messages.

        async with hubws.open_requests(connection, serve) as requests:
            print(await requests.request({"who": "are you?"}))
            async for message in requests:  # the other messages, in order
                ...

    Args:
        connection: which nobody else may read meanwhile.
        serve: as for `Requests`.
        limit: how many other messages wait to be taken; while there are more the connection is not
            read, and then no answers come either.
        **arguments: as for `Requests`: `timeout`, `max_in_flight`, `max_serving`, `encode`, `decode`.

    At the end of the block requests that are still being served are cancelled, and what was read and
    not taken is lost.

    """
    async with open_background() as nursery:
        requests = OpenRequests(connection, serve, nursery, limit, arguments)
        nursery.start_soon(requests.read)
        try:
            yield requests
        finally:
            requests.close()
