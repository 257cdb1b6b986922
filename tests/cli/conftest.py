"""Peers of the commands: servers in the tests' own process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import pytest
import trio
import trustme

import hubws

Serve: TypeAlias = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Serve:
    """Starts a server; returns its URL."""

    async def start(
        handler: Callable[[hubws.Connection], Awaitable[object]] | hubws.Callbacks, **options: Any
    ) -> str:
        server = await nursery.start(
            partial(_serve, handler, {"host": "127.0.0.1", "port": 0} | options)
        )
        scheme = "wss" if "ssl_context" in options else "ws"
        return f"{scheme}://127.0.0.1:{server.port}/"

    return start


async def _serve(
    handler: Any, options: dict[str, Any], task_status: trio.TaskStatus[hubws.Server]
) -> None:
    await hubws.serve(handler, task_status=task_status, **options)


async def echo(connection: hubws.Connection) -> None:
    """Send back what comes."""
    async for message in connection:
        await connection.send(message)


class Ends:
    """How connections ended, seen from the server."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[hubws.Closure](10)
        self.callbacks = hubws.Callbacks(on_close=self._on_close)

    def _on_close(self, connection: hubws.Connection) -> None:
        assert connection.closure is not None
        self._send.send_nowait(connection.closure)

    async def next_code(self) -> int:
        """The close code that the next client sent."""
        with trio.fail_after(30):
            return (await self._receive.receive()).code


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()
