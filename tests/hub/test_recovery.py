"""Members that come back: what they missed, then what is published, with nothing between or twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import hubws
from hubws import Connection, Hub, Position, PositionLost, Retention, State, unwrap
from tests.connection.pairs import Pairs


@pytest.fixture
async def make_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("socket")
    yield pairs
    await pairs.end()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hubws.open_hub() as hub:
        hub.configure("news.*", history=Retention(messages=5))
        yield hub


async def take(connection: Connection, count: int) -> list[tuple[int, str | bytes]]:
    """The offsets and messages of so many envelopes."""
    taken = []
    with trio.fail_after(10):
        for _ in range(count):
            envelope = unwrap(await connection.receive())
            taken.append((envelope.position.offset, envelope.message))
    return taken


class TestHistory:
    async def test_numbers_what_is_sent_to_the_topic(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.register(server, "news.a", "other")
        before = hub.position("news.a")
        first = hub.broadcast("one", topic="news.a")
        hub.broadcast(b"two", topic="news.a")
        hub.broadcast("plain", topic="other")
        assert hub.broadcast("nobody", topic="news.b").position is not None
        assert first.position == Position(before.epoch, 1)
        assert hub.position("news.a") == Position(before.epoch, 2)
        assert unwrap(await client.receive()) == hubws.Envelope("news.a", first.position, "one")
        assert await take(client, 1) == [(2, b"two")]
        assert await client.receive() == "plain"

    async def test_own_envelope(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.configure(
            "mine", history=Retention(), wrap=lambda message, topic, at: f"{at.offset} {message!r}"
        )
        hub.register(server, "mine")
        hub.broadcast("x", topic="mine")
        assert await client.receive() == "1 'x'"

    async def test_goes_to_all_members(self, hub: Hub, make_pair: Pairs) -> None:
        _, server = make_pair()
        hub.register(server, "news.a", "b")
        before = hub.position("news.a")
        calls: list[dict[str, Any]] = [
            {"topic": "news.a", "exclude": server},
            {"topic": "news.a", "where": lambda connection: True},
            {"topic": ["b", "news.a"]},
        ]
        for options in calls:
            with pytest.raises(ValueError, match=r"'news.a' has a history, so"):
                hub.broadcast("x", **options)
        with pytest.raises(TypeError):
            hub.broadcast(5, topic="news.a")  # type: ignore[arg-type]
        assert hub.position("news.a") == before

    async def test_number_of_histories_is_bounded(self, make_pair: Pairs) -> None:
        async with hubws.open_hub(max_histories=3) as hub:
            hub.configure("a.*", history=Retention())
            first = hub.position("a.0")
            for number in range(4):
                hub.broadcast("x", topic=f"a.{number}")
            assert hub.position("a.3").offset == 1
            assert hub.position("a.0").epoch != first.epoch


class TestRecover:
    async def test_what_was_missed(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.register(server)
        start = hub.position("news.a")
        for number in range(4):
            hub.broadcast(str(number), topic="news.a")
        reached = await hub.recover(server, "news.a", str(Position(start.epoch, 1)))
        assert reached == hub.position("news.a")
        hub.broadcast("4", topic="news.a")
        assert await take(client, 4) == [(2, "1"), (3, "2"), (4, "3"), (5, "4")]

    async def test_nothing_was_missed(self, hub: Hub, make_pair: Pairs) -> None:
        _, server = make_pair()
        hub.register(server)
        position = hub.position("news.a")
        assert await hub.recover(server, "news.a", position) == position
        assert set(hub.topics(server)) == {"news.a"}

    async def test_lost(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.register(server)
        start = hub.position("news.a")
        for number in range(6):
            hub.broadcast(str(number), topic="news.a")
        for position in (start, Position("other", 6), Position(start.epoch, 7)):
            with pytest.raises(PositionLost) as caught:
                await hub.recover(server, "news.a", position)
            assert caught.value.newest == hub.position("news.a")
        assert hub.topics(server) == set()
        await server.send("nothing came before this")
        assert await client.receive() == "nothing came before this"

    async def test_bad_calls(self, hub: Hub, make_pair: Pairs) -> None:
        _, server = make_pair()
        position = hub.position("news.a")
        with pytest.raises(ValueError, match="is no member"):
            await hub.recover(server, "news.a", position)
        hub.register(server, "news.a")
        with pytest.raises(ValueError, match=r"gets messages of 'news.a' already"):
            await hub.recover(server, "news.a", position)
        with pytest.raises(ValueError, match=r"'b' has no history; say so by hub.configure"):
            await hub.recover(server, "b", position)
        with pytest.raises(ValueError, match=r"a position is written epoch:offset, not '7'"):
            await hub.recover(server, "news.b", "7")
        with pytest.raises(ValueError, match="stands for many topics"):
            hub.position("news.*")

    async def test_cancelled_or_closed_on_the_way(self, hub: Hub) -> None:
        pairs = Pairs("lockstep")
        start = hub.position("news.a")
        for number in range(5):
            hub.broadcast(str(number), topic="news.a")
        _client, server = pairs(outbox_messages=1, start_client=False)
        hub.register(server)
        with trio.move_on_after(0.1) as scope:
            await hub.recover(server, "news.a", start)
        assert scope.cancelled_caught
        assert hub.topics(server) == set()
        async with trio.open_nursery() as nursery:

            async def recover() -> None:
                with pytest.raises(hubws.ConnectionClosed):
                    await hub.recover(server, "news.a", start)

            nursery.start_soon(recover)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ValueError, match="already"):
                await hub.recover(server, "news.a", start)
            server.abort()
        assert len(hub) == 0
        await pairs.end()


@given(
    missed=st.integers(0, 30),
    meanwhile=st.lists(st.integers(0, 4), max_size=40),
    outbox=st.integers(1, 4),
    retention=st.integers(1, 40),
    since=st.integers(0, 30),
)
def test_replay_and_live_traffic_meet(
    missed: int, meanwhile: list[int], outbox: int, retention: int, since: int
) -> None:
    """Whatever is published while a member catches up, it gets everything once and in order.

    Or it is told that its position is lost, having got a part without a gap.
    """

    async def main() -> None:
        pairs = Pairs("lockstep")
        async with hubws.open_hub(policy="disconnect") as hub, trio.open_nursery() as nursery:
            hub.configure("a", history=Retention(messages=retention))
            epoch = hub.position("a").epoch
            client, server = pairs(outbox_messages=outbox, inbox_messages=1)
            hub.register(server)
            published = 0

            def publish(count: int) -> None:
                nonlocal published
                for _ in range(count):
                    published += 1
                    hub.broadcast(str(published), topic="a")

            got: list[int] = []

            async def consume() -> None:
                try:
                    async for message in client:
                        envelope = unwrap(message)
                        assert envelope.message == str(envelope.position.offset)
                        got.append(envelope.position.offset)
                except hubws.ConnectionClosed:
                    pass

            publish(missed)
            nursery.start_soon(consume)
            lost = False
            done = trio.Event()

            async def recover() -> None:
                nonlocal lost
                try:
                    await hub.recover(server, "a", Position(epoch, min(since, missed)))
                except PositionLost:
                    lost = True
                except hubws.ConnectionClosed:
                    assert server.state is not State.OPEN
                done.set()

            nursery.start_soon(recover)
            for count in meanwhile:
                publish(count)
                await trio.lowlevel.checkpoint()
            with trio.fail_after(20):
                await done.wait()
            publish(3)
            await trio.testing.wait_all_tasks_blocked()
            first = min(since, missed) + 1
            assert got == list(range(first, first + len(got)))
            if not lost and server.state is State.OPEN:
                assert got[-1:] == [published] or first > published
            await pairs.end()
            nursery.cancel_scope.cancel()

    trio.run(main)
