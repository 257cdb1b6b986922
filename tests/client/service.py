"""A server that goes and comes back on the same port, and what a client is told meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import trio

import hubws
from hubws.client.reconnect import Event


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


class Service:
    """Serves on one port of 127.0.0.1, by one server after another."""

    def __init__(
        self,
        nursery: trio.Nursery,
        handler: Callable[[hubws.Connection], Awaitable[object]],
        options: dict[str, Any],
    ) -> None:
        self._nursery = nursery
        self._handler = handler
        self._options = options
        self._scope: trio.CancelScope | None = None
        self._ended = trio.Event()
        self.server: hubws.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        self._ended = trio.Event()
        self.server = await self._nursery.start(self._run)
        self.port = self.server.port

    async def _run(self, task_status: trio.TaskStatus[hubws.Server]) -> None:
        with trio.CancelScope() as self._scope:
            await hubws.serve(
                self._handler, "127.0.0.1", self.port, task_status=task_status, **self._options
            )
        self._ended.set()

    def cut(self) -> None:
        """Have every connection end without a word."""
        for connection in list(self.server.connections):
            connection.abort()

    async def stop(self, *, kill: bool = True) -> None:
        """End, like a process that is killed, or in order."""
        if kill:
            self.cut()
        self._scope.cancel()
        await self._ended.wait()


class Events:
    """Takes down what happens, and when; the times since it was made."""

    def __init__(self) -> None:
        self.began = trio.current_time()
        self.all: list[tuple[float, Event]] = []

    def __call__(self, event: Event) -> None:
        self.all.append((trio.current_time() - self.began, event))

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for _, event in self.all if isinstance(event, kind)]

    def times(self, kind: type[Event]) -> list[float]:
        return [round(at, 6) for at, event in self.all if isinstance(event, kind)]

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for _, event in self.all]


MakeService: TypeAlias = Callable[..., Awaitable[Service]]
