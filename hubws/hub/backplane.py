"""What links hubs: the interface of a backplane, and the one within a process."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol, Self

import attrs
import trio

from ..errors import HubwsError
from .histories import Histories
from .history import Position, PositionLost, Retention
from .topics import patterns_for

PAGE = 1000
"""The most messages that `Link.read` brings at once."""


class BackplaneAway(HubwsError):
    """What was asked for needs the other hubs, which can't be reached now; nothing was done."""


@attrs.frozen
class Stored:
    """What the backplane keeps of one channel's history."""

    newest: Position
    oldest: Position
    """The first position that can be answered."""
    messages: list[tuple[Position, bytes]]
    """Those after the offset that was asked for, oldest first, at most `PAGE`."""


class Receiver(Protocol):
    """What a hub does with what comes over its link. None of it waits or raises."""

    def take(self, origin: str, channel: str, body: bytes) -> None:
        """What another hub has sent to a channel; what each sends comes in order, once."""

    def take_numbered(self, channel: str, position: Position, body: bytes) -> None:
        """What some hub, also this one, had numbered; in order, but some may be missing."""

    def followed(self, channel: str) -> None:
        """From now on messages of a channel come."""

    def gone(self, origin: str) -> None:
        """Another hub has ended, or was not heard of for too long."""

    def linked(self) -> None:
        """The others can be reached, and all channels are followed, for the first time or again."""

    def away(self, why: str) -> None:
        """The others can't be reached."""


class Link(Protocol):
    """One hub's end of a backplane, while its `async with` block runs.

    It begins at once, whether or not the other hubs can be reached. What is not async may be called
    before, and never waits.
    """

    @property
    def name(self) -> str:
        """What the other hubs know this one by; no other has it, ever."""

    @property
    def lag(self) -> float:
        """Seconds that a message took lately from this hub to itself; NaN before the first."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *error: object) -> bool | None: ...

    def has_room(self, size: int) -> bool:
        """Whether so many bytes may be queued; if not the link is given up for now, and made anew."""

    def send(self, channel: str, body: bytes) -> None:
        """Send to all other hubs that follow a channel. Ask `has_room` before."""

    def number(self, channel: str, body: bytes, retention: Retention) -> None:
        """Have the backplane number and keep a message, and send it to all that follow the channel.

        This hub is one of them: its members are served when it comes back. Ask `has_room` before.
        """

    def follow(self, channel: str) -> None:
        """Get what is sent to a channel, or to all that begin as one that ends with `.*`."""

    def unfollow(self, channel: str) -> None:
        """Get it no more."""

    async def read(self, channel: str, after: Position | None, retention: Retention) -> Stored:
        """What is kept of a channel's history after a position; None: just what there is.

        BackplaneAway when it can't be asked.
        """

    async def flush(self) -> None:
        """Wait until the backplane has all that was sent, however long it is away.

        BackplaneAway when the link has ended before that.
        """


class Backplane(Protocol):
    """What links hubs, wherever they are: `LocalBackplane`, `hubws.backplane.redis.RedisBackplane`."""

    def link(self, receiver: Receiver) -> Link:
        """One more hub's end."""


class LocalBackplane:
    """Links hubs of one process and one trio run; give it to each by `open_hub(backplane=...)`.

    Args:
        max_histories: how many topics have a history at once; beyond that the one used longest ago
            is forgotten.

    """

    def __init__(self, *, max_histories: int = 1000) -> None:
        self._histories = Histories(max_histories, trio.current_time)
        self._links: dict[str, LocalLink] = {}
        self._names = itertools.count(1)
        self._due: deque[Callable[[], None]] = deque()
        self._is_delivering = False

    def link(self, receiver: Receiver) -> LocalLink:
        """See `Backplane`."""
        return LocalLink(self, f"hub-{next(self._names)}", receiver)

    def begin(self, link: LocalLink) -> None:
        """There is one more hub."""
        self._links[link.name] = link
        self.deliver(link.receiver.linked)

    def end(self, link: LocalLink) -> None:
        """There is one hub less."""
        del self._links[link.name]
        for other in list(self._links.values()):
            self.deliver(partial(other.receiver.gone, link.name))

    def deliver(self, call: Callable[[], None]) -> None:
        """Call it after all that is under way, so that all hubs see everything in one order."""
        self._due.append(call)
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._due:
                self._due.popleft()()
        finally:
            self._is_delivering = False

    def send(self, origin: str, channel: str, body: bytes) -> None:
        """Bring a message to all other hubs that follow the channel."""
        for link in list(self._links.values()):
            if link.name != origin and link.follows(channel):
                link.receiver.take(origin, channel, body)

    def number(self, channel: str, body: bytes, retention: Retention) -> None:
        """Number a message and bring it to all hubs that follow the channel."""
        position = self._histories.of(channel, retention).append(body)
        for link in list(self._links.values()):
            if link.follows(channel):
                link.receiver.take_numbered(channel, position, body)

    def read(self, channel: str, after: Position | None, retention: Retention) -> Stored:
        """What is kept of a history."""
        history = self._histories.of(channel, retention)
        figures = history.statistics()
        messages: list[tuple[Position, bytes]] = []
        if after is not None:
            try:
                found = history.since(after)
            except PositionLost:
                found = []
            messages = [(position, bytes(body)) for position, body in found[:PAGE]]  # type: ignore[arg-type]
        return Stored(figures.newest, figures.oldest, messages)


class LocalLink:
    """A hub's end of a `LocalBackplane`."""

    def __init__(self, backplane: LocalBackplane, name: str, receiver: Receiver) -> None:
        self.name = name
        self.lag = 0.0
        self.receiver = receiver
        self._backplane = backplane
        self._followed: set[str] = set()

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._backplane.begin(self)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._backplane.end(self)

    def has_room(self, size: int) -> bool:
        """See `Link`."""
        return True

    def follows(self, channel: str) -> bool:
        """Whether messages of a channel come here."""
        followed = self._followed
        return channel in followed or any(name in followed for name in patterns_for(channel))

    def send(self, channel: str, body: bytes) -> None:
        """See `Link`."""
        self._backplane.deliver(partial(self._backplane.send, self.name, channel, body))

    def number(self, channel: str, body: bytes, retention: Retention) -> None:
        """See `Link`."""
        self._backplane.deliver(partial(self._backplane.number, channel, body, retention))

    def follow(self, channel: str) -> None:
        """See `Link`."""
        self._followed.add(channel)
        self._backplane.deliver(partial(self.receiver.followed, channel))

    def unfollow(self, channel: str) -> None:
        """See `Link`."""
        self._followed.discard(channel)

    async def read(self, channel: str, after: Position | None, retention: Retention) -> Stored:
        """See `Link`."""
        await trio.lowlevel.checkpoint()
        return self._backplane.read(channel, after, retention)

    async def flush(self) -> None:
        """See `Link`."""
        await trio.lowlevel.checkpoint()
