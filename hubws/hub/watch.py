"""Following what happens in a hub: functions that are called, and feeds to iterate over."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import attrs

from ..connection.connection import Connection
from ..connection.queue import Policy
from .feed import Feed, Keyed

logger = logging.getLogger("hubws")

Event = TypeVar("Event", bound=Keyed)


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

    @property
    def key(self) -> Connection:
        """For a `Feed` of policy `latest`: the newest loss of each connection."""
        return self.connection


class Watchers(Generic[Event]):
    """Who wants to know of one kind of event: functions, and tasks that iterate."""

    def __init__(self) -> None:
        self._callbacks: tuple[Callable[[Event], object], ...] = ()
        self._feeds: list[Feed[Event]] = []

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
    async def watch(self, limit: int, policy: Policy | str) -> AsyncIterator[Feed[Event]]:
        """Iterate over the events while the block runs; at most `limit` wait to be taken."""
        feed = Feed[Event](limit, policy)
        self.add(feed.put)
        try:
            with feed.joined_to(self._feeds):
                yield feed
        finally:
            self.remove(feed.put)

    def close(self) -> None:
        """End all iterations."""
        for feed in self._feeds:
            feed.close()
