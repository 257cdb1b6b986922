"""Pytest fixtures, for pytest-trio. In a conftest.py: `pytest_plugins = ["hubws.testing.fixtures"]`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest
import trio

from ..connection.callbacks import Callbacks
from ..connection.connection import Connection
from ..server.accept import Handler
from .memory import MemoryServer, open_pair, open_server

OpenServer: TypeAlias = Callable[..., Awaitable[MemoryServer]]


@pytest.fixture
async def hubws_server() -> AsyncIterator[OpenServer]:
    """What opens servers in memory, as `open_server` does, and closes them after the test.

    server = await hubws_server(handler, subprotocols=["chat"])
    """
    async with trio.open_nursery() as nursery:

        async def hold(
            handler: Handler | Callbacks,
            options: dict[str, Any],
            task_status: trio.TaskStatus[MemoryServer],
        ) -> None:
            async with open_server(handler, **options) as server:
                task_status.started(server)
                await trio.sleep_forever()

        async def open_one(handler: Handler | Callbacks, **options: Any) -> MemoryServer:
            server: MemoryServer = await nursery.start(hold, handler, options)
            return server

        yield open_one
        nursery.cancel_scope.cancel()


@pytest.fixture
async def hubws_pair() -> AsyncIterator[tuple[Connection, Connection]]:
    """A client's and a server's connection, each the other's peer."""
    async with open_pair() as pair:
        yield pair
