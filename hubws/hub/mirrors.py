"""The histories that hubs share, as one hub has them: complete from some offset on, or asked for again.

A mirror follows the numbered messages of a topic. One that is there already is passed over; where one
is missing, or after the backplane was away, the mirror is *behind* until what is missing has been read
from the backplane. So its messages, and what is delivered from it, have no hole and no double, unless
the backplane itself has forgotten: then `on_gap` is told, and the mirror begins anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import TypeAlias

import trio

from .backplane import BackplaneAway, Link, Stored
from .history import History, Position, Retention
from .news import TOPIC

Deliver: TypeAlias = Callable[[str, Position, bytes], None]
OnGap: TypeAlias = Callable[[str, Position, Position], None]

PLACES = 100


class Mirrors:
    """The shared histories that this hub follows, by topic; of many it only knows how far it has got.

    Args:
        limit: of how many topics messages are kept; beyond that those of the oldest are thrown out. Of
            `PLACES` times as many it is known how far they were delivered.
        retention_of: how much of a topic is kept; None for no history.
        deliver: called with topic, position and body of each message, once and in order.
        on_gap: called with a topic, the last position delivered and the next that can be.

    """

    def __init__(
        self,
        limit: int,
        retention_of: Callable[[str], Retention | None],
        deliver: Deliver,
        on_gap: OnGap,
    ) -> None:
        self._limit = limit
        self._retention_of = retention_of
        self._deliver = deliver
        self._on_gap = on_gap
        self._mirrors: OrderedDict[str, History] = OrderedDict()
        self._places: dict[str, Position] = {}  # of topics whose messages were thrown out
        self._behind: dict[str, trio.Event] = {}
        self._to_read: dict[str, None] = {}
        self._lot = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._mirrors)

    def topics(self) -> Collection[str]:
        """Those of which something is known."""
        return {*self._mirrors, *self._places}

    def get(self, topic: str) -> History | None:
        """A mirror that is complete up to its newest message; None if it is behind, or not there."""
        mirror = self._mirrors.get(topic)
        if mirror is None or topic in self._behind:
            return None
        self._mirrors.move_to_end(topic)
        return mirror

    def begin(self, topic: str) -> None:
        """Be behind in a topic, until `catch_up` is called and has been done."""
        self._behind.setdefault(topic, trio.Event())

    def catch_up(self, topic: str) -> None:
        """Read what may be missing in a topic."""
        self.begin(topic)
        self._to_read[topic] = None
        self._lot.unpark()

    def catch_up_all(self) -> None:
        """Read what may be missing anywhere, as the backplane was away."""
        for topic in {*self._mirrors, *self._places, *self._behind}:
            self.catch_up(topic)

    def forget(self, topic: str) -> None:
        """Drop the mirror of a topic that is no longer followed."""
        self._mirrors.pop(topic, None)
        self._places.pop(topic, None)
        self._to_read.pop(topic, None)
        if (event := self._behind.pop(topic, None)) is not None:
            event.set()

    def wake(self) -> None:
        """Have those who wait for a mirror look again, as the backplane is away."""
        for topic, event in self._behind.items():
            event.set()
            self._behind[topic] = trio.Event()

    async def changed(self, topic: str) -> None:
        """Wait until a topic is no longer behind, or `wake` was called."""
        if topic not in self._behind:
            self.catch_up(topic)
        await self._behind[topic].wait()

    # -- what comes ----------------------------------------------------------------------------

    def take(self, topic: str, position: Position, body: bytes) -> None:
        """A numbered message, by the channel or read: deliver it if it is the next one."""
        retention = self._retention_of(topic)
        if retention is None:
            self._deliver(topic, position, body)
            return
        mirror = self._find(topic, retention)
        if mirror is None:
            mirror = self._start(topic, retention, Position(position.epoch, position.offset - 1))
        newest = mirror.position
        if position.epoch == newest.epoch and position.offset <= newest.offset:
            return
        if position == mirror.next_position:
            mirror.append(body)
            self._deliver(topic, position, body)
        elif topic not in self._to_read:
            self.catch_up(topic)

    def _find(self, topic: str, retention: Retention) -> History | None:
        """The mirror of a topic, an empty one where its messages were thrown out."""
        place = self._places.pop(topic, None)
        return self._mirrors.get(topic) if place is None else self._start(topic, retention, place)

    def _start(self, topic: str, retention: Retention, position: Position) -> History:
        mirror = History(retention, trio.current_time, position.epoch, position.offset)
        self._mirrors[topic] = mirror
        self._mirrors.move_to_end(topic)
        if len(self._mirrors) > self._limit:
            oldest, emptied = self._mirrors.popitem(last=False)
            self._places[oldest] = emptied.position
            if len(self._places) > self._limit * PLACES:
                del self._places[next(iter(self._places))]
        return mirror

    async def read_forever(self, link: Link) -> None:
        """Read what is missing, topic by topic, until cancelled."""
        while True:
            while not self._to_read:
                await self._lot.park()
            topic = next(iter(self._to_read))
            del self._to_read[topic]
            try:
                await self._read(link, topic)
            except BackplaneAway:
                pass  # it is behind until the backplane is back, and then read anew

    async def _read(self, link: Link, topic: str) -> None:
        retention = self._retention_of(topic)
        while retention is not None and topic in self._behind:
            mirror = self._find(topic, retention)
            after = None if mirror is None else mirror.position
            stored = await link.read(TOPIC + topic, after, retention)
            if topic not in self._behind:
                return  # forgotten meanwhile
            mirror = self._find(topic, retention)
            if mirror is None:
                mirror = self._start(topic, retention, stored.newest)
            if after is not None and not can_answer(stored, after):
                if mirror.position == after:
                    self._start(topic, retention, stored.oldest)
                    self._on_gap(topic, after, stored.oldest)
                continue
            for position, body in stored.messages:
                self.take(topic, position, body)
            newest = mirror.position
            if newest.epoch == stored.newest.epoch and newest.offset >= stored.newest.offset:
                if topic not in self._to_read:  # else this was asked too early
                    self._behind.pop(topic).set()
                return


def can_answer(stored: Stored, position: Position) -> bool:
    """Whether the backplane has all that came after a position."""
    oldest, newest = stored.oldest, stored.newest
    return position.epoch == newest.epoch and oldest.offset <= position.offset <= newest.offset
