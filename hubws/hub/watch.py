"""Following what happens in a hub: events in a bounded queue, for a task that iterates over them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import attrs
import trio

from ..connection.connection import Connection
from ..connection.queue import Policy

logger = logging.getLogger("hubws")

Event = TypeVar("Event")


@attrs.frozen
class Loss:
    """A message that a member did not get, and what became of the member."""

    connection: Connection
    message: str | bytes
    policy: Policy
    """By which it was dropped, or the member disconnected."""
    topic: str | None
    """Of the broadcast that found no room, None when it went to all or to some."""
    disconnected: bool
    """Whether the member was closed with 1013 for it."""


class Watch(Generic[Event]):
    """Events of one kind; iterate over it. `missed` counts those that found the queue full."""

    def __init__(self, limit: int) -> None:
        self._send, self._receive = trio.open_memory_channel[Event](limit)
        self.missed = 0

    def put(self, event: Event) -> None:
        """Queue an event, or count it as missed."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self.missed += 1

    def __aiter__(self) -> Watch[Event]:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """End the iteration once what is queued has been taken."""
        self._send.close()


class Watchers(Generic[Event]):
    """Who wants to know of one kind of event: functions, and tasks that iterate."""

    def __init__(self) -> None:
        self._callbacks: tuple[Callable[[Event], object], ...] = ()
        self._watches: list[Watch[Event]] = []

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def __call__(self, event: Event) -> None:
        for callback in self._callbacks:
            try:
                callback(event)
            except Exception:
                logger.exception("a function that watches a hub failed")

    def add(self, callback: Callable[[Event], object]) -> None:
        """Call a function with every event."""
        self._callbacks += (callback,)

    def remove(self, callback: Callable[[Event], object]) -> None:
        """Call it no more. ValueError when it was not added."""
        callbacks = list(self._callbacks)
        callbacks.remove(callback)
        self._callbacks = tuple(callbacks)

    @contextlib.asynccontextmanager
    async def watch(self, limit: int) -> AsyncIterator[Watch[Event]]:
        """Iterate over the events while the block runs; at most `limit` wait to be taken."""
        watch = Watch[Event](limit)
        self.add(watch.put)
        self._watches.append(watch)
        try:
            yield watch
        finally:
            self.remove(watch.put)
            self._watches.remove(watch)

    def close(self) -> None:
        """End all iterations."""
        for watch in self._watches:
            watch.close()
