"""Feeds: what waits for a task that iterates, and what gives way."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from hubws.hub.feed import Feed


@attrs.frozen
class Item:
    number: int

    @property
    def key(self) -> int:
        return self.number % 10


@pytest.mark.parametrize(
    ("policy", "left", "dropped", "conflated"),
    [
        ("drop_oldest", [2, 11, 21], 2, 0),
        ("drop_newest", [0, 1, 2], 2, 0),
        ("latest", [0, 2, 21], 0, 2),
    ],
)
async def test_what_gives_way(policy: str, left: list[int], dropped: int, conflated: int) -> None:
    feed = Feed[Item](3, policy)
    for number in (0, 1, 2, 11, 21):
        feed.put(Item(number))
        assert len(feed) <= 3
    feed.close()
    assert [item.number async for item in feed] == left
    assert (feed.dropped, feed.conflated) == (dropped, conflated)


async def test_latest_of_too_many_keys_keeps_the_newest() -> None:
    feed = Feed[Item](2, "latest")
    for number in (0, 1, 2):
        feed.put(Item(number))
    feed.close()
    assert [item.number async for item in feed] == [1, 2]
    assert feed.dropped == 1


async def test_several_tasks_share_the_items(autojump_clock: trio.testing.MockClock) -> None:
    feed, taken = Feed[Item](10, "drop_oldest"), []

    async def take() -> None:
        nonlocal taken
        async for item in feed:  # one by one, so that the other task gets some
            taken += [item.number]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        nursery.start_soon(take)
        for number in range(20):
            feed.put(Item(number))
            feed.put(Item(number + 100))
            await trio.testing.wait_all_tasks_blocked()
        feed.close()
    assert sorted(taken) == [*range(20), *range(100, 120)]
    assert feed.dropped == 0


async def test_cancelled_loses_nothing() -> None:
    feed = Feed[Item](10, "drop_oldest")
    with trio.move_on_after(0) as scope:
        await anext(feed)
    assert scope.cancelled_caught
    feed.put(Item(1))
    with trio.move_on_after(0) as scope:
        await anext(feed)
    assert scope.cancelled_caught
    assert (await anext(feed)).number == 1


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_bad_limit(limit: Any) -> None:
    with pytest.raises(ValueError, match="from 1"):
        Feed[Item](limit, "drop_oldest")


@pytest.mark.parametrize("policy", ["block", "disconnect", "nonsense", 3])
def test_bad_policy(policy: Any) -> None:
    with pytest.raises(ValueError, match="use one of drop_oldest, drop_newest, latest"):
        Feed[Item](1, policy)
