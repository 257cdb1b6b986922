"""Mirrors of shared histories: no hole and no double, whatever comes when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from hubws import Position, Retention
from hubws.hub.backplane import BackplaneAway, LocalBackplane, Stored
from hubws.hub.mirrors import Mirrors, can_answer

KEPT = Retention(messages=5)


class FakeLink:
    """What the backplane keeps, to be read when the test says so."""

    def __init__(self) -> None:
        self.backplane = LocalBackplane()
        self.reads: list[Position | None] = []
        self.is_away = False
        self.may_answer = trio.Event()
        self.may_answer.set()

    def append(self, number: int, retention: Retention = KEPT) -> tuple[Position, bytes]:
        body = b"%d" % number
        position = self.backplane._histories.of("topic:t", retention).append(body)
        return position, body

    async def read(self, channel: str, after: Position | None, retention: Retention) -> Stored:
        self.reads.append(after)
        if self.is_away:
            raise BackplaneAway("away")
        stored = self.backplane.read(channel, after, retention)
        await self.may_answer.wait()
        return stored


class Mirrored:
    def __init__(self, link: FakeLink, limit: int = 10) -> None:
        self.link = link
        self.delivered: list[int] = []
        self.gaps: list[tuple[Position, Position]] = []
        self.mirrors = Mirrors(limit, self.retention_of, self.deliver, self.on_gap)

    def retention_of(self, topic: str) -> Retention | None:
        return None if topic == "plain" else KEPT

    def deliver(self, topic: str, position: Position, body: bytes) -> None:
        self.delivered.append(int(body))

    def on_gap(self, topic: str, position: Position, oldest: Position) -> None:
        self.gaps.append((position, oldest))

    def take(self, *messages: tuple[Position, bytes]) -> None:
        for position, body in messages:
            self.mirrors.take("t", position, body)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Callable[[], Any]]:
        async with trio.open_nursery() as nursery:
            link: Any = self.link
            nursery.start_soon(self.mirrors.read_forever, link)
            yield trio.testing.wait_all_tasks_blocked
            nursery.cancel_scope.cancel()


@pytest.fixture
async def mirrored() -> Mirrored:
    return Mirrored(FakeLink())


async def test_what_is_missing_is_read(mirrored: Mirrored) -> None:
    sent = [mirrored.link.append(number) for number in range(1, 5)]
    mirrored.take(sent[0], sent[0])
    assert mirrored.delivered == [1]
    mirrored.take(sent[3])
    assert mirrored.mirrors.get("t") is None
    async with mirrored.reading() as settled:
        await settled()
    assert mirrored.delivered == [1, 2, 3, 4]
    assert mirrored.link.reads == [sent[0][0]]
    mirrored.take(*sent)
    assert mirrored.delivered == [1, 2, 3, 4]
    assert mirrored.mirrors.get("t").position == sent[3][0]
    assert mirrored.gaps == []


async def test_what_comes_while_it_is_read(mirrored: Mirrored) -> None:
    link = mirrored.link
    sent = [link.append(number) for number in range(1, 4)]
    mirrored.take(sent[0])
    link.may_answer = trio.Event()
    async with mirrored.reading() as settled:
        mirrored.take(sent[2])
        await settled()
        more = [link.append(number) for number in (4, 5)]
        mirrored.take(*more)  # the answer that is under way knows nothing of these
        link.may_answer.set()
        await settled()
    assert mirrored.delivered == [1, 2, 3, 4, 5]


async def test_what_the_backplane_has_forgotten_is_a_gap(mirrored: Mirrored) -> None:
    link = mirrored.link
    first = link.append(1)
    mirrored.take(first)
    sent = [link.append(number) for number in range(2, 11)]
    async with mirrored.reading() as settled:
        mirrored.take(sent[-1])
        await settled()
        assert mirrored.delivered == [1, 6, 7, 8, 9, 10]
        epoch = first[0].epoch
        assert mirrored.gaps == [(first[0], Position(epoch, 5))]
        # It has forgotten everything, and begins anew.
        link.backplane = LocalBackplane()
        anew = link.append(11)
        mirrored.take(anew)
        await settled()
    assert mirrored.delivered[-1] == 11
    assert mirrored.gaps[1:] == [(Position(epoch, 10), Position(anew[0].epoch, 0))]


async def test_it_is_complete_once_it_is_followed(mirrored: Mirrored) -> None:
    mirrors, link = mirrored.mirrors, mirrored.link
    newest, _ = link.append(1)
    mirrors.begin("t")
    async with mirrored.reading() as settled:
        await settled()
        assert link.reads == []
        mirrors.catch_up("t")
        with trio.fail_after(10):
            await mirrors.changed("t")
        assert mirrors.get("t").position == newest
        assert mirrored.delivered == []  # from now on


async def test_away_and_back(mirrored: Mirrored) -> None:
    mirrors, link = mirrored.mirrors, mirrored.link
    sent = [link.append(number) for number in range(1, 4)]
    mirrored.take(sent[0])
    async with mirrored.reading() as settled, trio.open_nursery() as nursery:
        link.is_away = True
        mirrors.catch_up("t")
        nursery.start_soon(mirrors.changed, "t")
        await settled()
        mirrors.wake()
        await settled()
        assert not nursery.child_tasks
        assert mirrors.get("t") is None
        link.is_away = False
        mirrors.catch_up_all()
        await settled()
        assert mirrored.delivered == [1, 2, 3]


async def test_forgotten_while_it_is_read(mirrored: Mirrored) -> None:
    mirrors, link = mirrored.mirrors, mirrored.link
    link.append(1)
    link.may_answer = trio.Event()
    async with mirrored.reading() as settled:
        mirrors.catch_up("t")
        await settled()
        mirrors.forget("t")
        link.may_answer.set()
        await settled()
        assert len(mirrors) == 0


async def test_number_of_mirrors_is_bounded() -> None:
    mirrored = Mirrored(FakeLink(), limit=2)
    for topic in ("a", "b", "a", "c"):
        mirrored.mirrors.get(topic)  # which is a use
        mirrored.mirrors.take(topic, Position("e", 7), b"1")
    assert len(mirrored.mirrors) == 2
    assert [mirrored.mirrors.get(topic) is None for topic in "abc"] == [False, True, False]
    assert mirrored.delivered == [1, 1, 1]
    assert set(mirrored.mirrors.topics()) == set("abc")
    mirrored.mirrors.take("b", Position("e", 7), b"1")
    assert mirrored.delivered == [1, 1, 1]  # where it stands is known nevertheless
    mirrored.mirrors.forget("a")
    mirrored.mirrors.take("a", Position("e", 7), b"1")
    assert mirrored.delivered == [1, 1, 1, 1]


async def test_number_of_places_is_bounded() -> None:
    mirrors = Mirrored(FakeLink(), limit=1).mirrors
    for number in range(110):
        mirrors.take(f"{number}", Position("e", 7), b"1")
    assert set(mirrors.topics()) == {f"{number}" for number in range(9, 110)}


async def test_more_topics_than_mirrors_miss_nothing_while_the_link_is_away() -> None:
    mirrored = Mirrored(link := FakeLink(), limit=1)
    mirrored.take(link.append(1))
    mirrored.mirrors.take("u", Position("e", 7), b"70")
    missed = [link.append(number) for number in (2, 3)]
    async with mirrored.reading() as settled:
        mirrored.mirrors.catch_up("t")  # as after the link was away
        await settled()
        assert mirrored.delivered == [1, 70, 2, 3]
        mirrored.mirrors.take("u", Position("e", 8), b"80")
        mirrored.take(*missed, link.append(4))
        assert mirrored.delivered == [1, 70, 2, 3, 80, 4]
    mirrored.mirrors.catch_up_all()
    assert set(mirrored.mirrors._to_read) == {"t", "u"}


async def test_a_topic_without_a_history_here(mirrored: Mirrored) -> None:
    mirrored.mirrors.take("plain", Position("e", 7), b"1")
    assert mirrored.delivered == [1]
    assert len(mirrored.mirrors) == 0


@given(st.data())
async def test_any_way_to_come_is_once_and_in_order(data: st.DataObject) -> None:
    """Messages are lost, come twice and out of order, and the backplane is away now and then."""
    mirrored = Mirrored(FakeLink())
    link = mirrored.link
    keeps_all = Retention(messages=1000)
    mirrored.retention_of = lambda topic: keeps_all  # type: ignore[method-assign]
    mirrored.mirrors._retention_of = lambda topic: keeps_all
    sent = [link.append(0, keeps_all)]
    mirrored.take(sent[0])
    async with mirrored.reading() as settled:
        for number in range(1, data.draw(st.integers(1, 12))):
            sent.append(link.append(number, keeps_all))
            mirrored.take(*data.draw(st.lists(st.sampled_from(sent), max_size=4)))
            link.is_away = data.draw(st.booleans())
            if data.draw(st.booleans()):
                await settled()
        link.is_away = False
        mirrored.mirrors.catch_up_all()
        await settled()
    assert mirrored.delivered == list(range(len(sent)))
    assert mirrored.gaps == []


def test_what_can_be_answered() -> None:
    stored = Stored(newest=Position("e", 9), oldest=Position("e", 4), messages=[])
    offsets = [offset for offset in range(12) if can_answer(stored, Position("e", offset))]
    assert offsets == [4, 5, 6, 7, 8, 9]
    assert not can_answer(stored, Position("f", 5))
