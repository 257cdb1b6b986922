"""What happens, for a task that iterates over it: a bounded queue that nobody waits for."""

from __future__ import annotations

import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar

import trio

from ..connection.queue import Policy


class Keyed(Protocol):
    """What a feed carries."""

    @property
    def key(self) -> Hashable:
        """What `latest` compares."""


Item = TypeVar("Item", bound=Keyed)

TURN = 64
"""The most items that are taken before other tasks get a turn."""

POLICIES = (Policy.DROP_OLDEST, Policy.DROP_NEWEST, Policy.LATEST)


class Feed(Generic[Item]):
    """Iterate over it. Each item goes to one of the tasks that do.

    ValueError for a limit below 1, and for policies that it doesn't know.

    Attributes:
        policy: what gives way when `limit` items wait: `drop_oldest`, `drop_newest`, or `latest`,
            which keeps only the newest item of each key, always, and else the newest keys.
        dropped: items that nobody got, because the queue was full.
        conflated: items that were replaced by a newer one of the same key.

    """

    __slots__ = (
        "_closed",
        "_items",
        "_numbers",
        "_parked",
        "_turns",
        "conflated",
        "dropped",
        "limit",
        "policy",
    )

    def __init__(self, limit: int, policy: Policy | str) -> None:
        if type(limit) is not int or limit < 1:
            raise ValueError(f"limit must be a whole number from 1, not {limit!r}")
        if policy not in POLICIES:
            names = ", ".join(POLICIES)
            raise ValueError(f"{policy!r} is not a policy for this; use one of {names}")
        self.limit = limit
        self.policy = Policy(policy)
        self.dropped = 0
        self.conflated = 0
        self._items: OrderedDict[Hashable, Item] = OrderedDict()
        self._numbers = itertools.count()
        self._parked = trio.lowlevel.ParkingLot()
        self._closed = False
        self._turns = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Queue an item; at the bound the policy says what gives way."""
        items = self._items
        key: Hashable = item.key if self.policy is Policy.LATEST else next(self._numbers)
        if items.pop(key, None) is not None:
            self.conflated += 1
        elif len(items) >= self.limit:
            self.dropped += 1
            if self.policy is Policy.DROP_NEWEST:
                return
            items.popitem(last=False)
        items[key] = item
        self._parked.unpark()

    @contextlib.contextmanager
    def joined_to(self, feeds: list[Feed[Item]]) -> Iterator[None]:
        """Be among those that items are put into while the block runs."""
        feeds.append(self)
        try:
            yield
        finally:
            feeds.remove(self)

    def close(self) -> None:
        """End the iteration once what is queued has been taken."""
        self._closed = True
        self._parked.unpark_all()

    def __aiter__(self) -> Feed[Item]:
        return self

    async def __anext__(self) -> Item:
        self._turns -= 1
        if self._turns > 0 and self._items:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._turns = TURN
            await trio.lowlevel.checkpoint()
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            await self._parked.park()
        return self._items.popitem(last=False)[1]
