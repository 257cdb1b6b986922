"""What only the Redis backplane does: numbers given once, bounds, names, its beginning and end."""

from __future__ import annotations

import itertools
import logging
import math
from typing import Any

import pytest
import trio
import trio.testing

import hubws
from hubws import Position, Retention
from hubws.backplane.redis import RedisBackplane, RedisLink, bounds_of
from hubws.backplane.session import Session
from hubws.hub.backplane import BackplaneAway, Receiver
from tests.backplane.conftest import backplane_at, linked_hub
from tests.backplane.redis_server import RedisServer, open_way
from tests.connection.pairs import Pairs

KEPT = Retention(messages=100)


class Notes(Receiver):
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.numbered: list[tuple[str, int, bytes]] = []
        self.said: list[str] = []
        self._changed = trio.lowlevel.ParkingLot()

    def take(self, origin: str, channel: str, body: bytes) -> None:
        self.taken.append((channel, body))
        self._changed.unpark_all()

    def take_numbered(self, channel: str, position: Position, body: bytes) -> None:
        self.numbered.append((channel, position.offset, body))
        self._changed.unpark_all()

    def followed(self, channel: str) -> None:
        self._say(f"followed {channel}")

    def gone(self, origin: str) -> None:
        self._say("gone")

    def linked(self) -> None:
        self._say("linked")

    def away(self, why: str) -> None:
        self._say("away")

    def _say(self, what: str) -> None:
        self.said.append(what)
        self._changed.unpark_all()

    async def until(self, condition: Any) -> None:
        with trio.fail_after(20):
            while not condition():
                await self._changed.park()


async def link_to(nursery: trio.Nursery, backplane: RedisBackplane) -> tuple[RedisLink, Notes]:
    """A link that lasts as long as the nursery."""
    notes = Notes()
    link = backplane.link(notes)

    async def hold(task_status: trio.TaskStatus[None]) -> None:
        async with link:
            task_status.started()
            await trio.sleep_forever()

    await nursery.start(hold)
    return link, notes


async def follow(link: RedisLink, notes: Notes, *channels: str) -> None:
    for channel in channels:
        link.follow(channel)
    await notes.until(lambda: all(f"followed {one}" in notes.said for one in channels))


class TestNumbers:
    async def test_what_is_sent_again_is_carried_out_once(self, redis: RedisServer) -> None:
        async with trio.open_nursery() as nursery:
            link, notes = await link_to(nursery, backplane_at(redis.url))
            await follow(link, notes, "topic:a")
            link.number("topic:a", b"1", KEPT)
            link.send("topic:a", b"not for itself")
            await link.flush()
            session = link._session
            number = link._next_number - 2
            again = ["topic:a", b"1", *bounds_of(KEPT)]
            await session.share(number, again)  # its answer was lost, say
            link.number("topic:a", b"2", KEPT)
            await notes.until(lambda: len(notes.numbered) == 2)
            assert notes.numbered == [("topic:a", 1, b"1"), ("topic:a", 2, b"2")]
            assert notes.taken == []
            nursery.cancel_scope.cancel()

    async def test_hubs_get_all_in_one_order(self, redis: RedisServer) -> None:
        backplane = backplane_at(redis.url)
        async with trio.open_nursery() as nursery:
            one, ones = await link_to(nursery, backplane)
            other, others = await link_to(nursery, backplane)
            await follow(one, ones, "topic:a")
            await follow(other, others, "topic:a")
            for number in range(1000):
                link = one if number % 3 else other
                link.number("topic:a", b"%d" % number, KEPT)
            await ones.until(lambda: len(ones.numbered) == 1000)
            await others.until(lambda: len(others.numbered) == 1000)
            assert ones.numbered == others.numbered
            assert [offset for _, offset, _ in ones.numbered] == list(range(1, 1001))
            nursery.cancel_scope.cancel()

    async def test_bodies_are_what_they_were(self, redis: RedisServer) -> None:
        bodies = [b"", b"\n", b"a b\nc", bytes(range(256)), b"x" * 3_000_000]
        async with trio.open_nursery() as nursery:
            link, notes = await link_to(nursery, backplane_at(redis.url))
            await follow(link, notes, "topic:a")
            keeps_all = Retention(bytes=10_000_000)
            for body in bodies:
                link.number("topic:a", body, keeps_all)
            await notes.until(lambda: len(notes.numbered) == len(bodies))
            assert [body for _, _, body in notes.numbered] == bodies
            start = await link.read("topic:a", None, keeps_all)
            epoch = start.newest.epoch
            stored = await link.read("topic:a", Position(epoch, 0), keeps_all)
            assert stored.messages == [
                (Position(epoch, number), body) for number, body in enumerate(bodies, 1)
            ]
            nursery.cancel_scope.cancel()


class TestHistory:
    async def test_bounds(self, redis: RedisServer) -> None:
        async with trio.open_nursery() as nursery:
            link, _ = await link_to(nursery, backplane_at(redis.url))
            bounds = {
                "messages": Retention(messages=3),
                "bytes": Retention(bytes=35),
                "too large": Retention(bytes=9),
                "age": Retention(seconds=1e-6),
            }
            for name, retention in bounds.items():
                for _ in range(5):
                    link.number(f"topic:{name}", b"x" * 10, retention)
            await link.flush()
            kept = {}
            for name, retention in bounds.items():
                stored = await link.read(f"topic:{name}", None, retention)
                assert stored.newest.offset == 5
                kept[name] = 5 - stored.oldest.offset
            assert kept == {"messages": 3, "bytes": 3, "too large": 0, "age": 0}
            nursery.cancel_scope.cancel()

    async def test_it_is_read_in_pages(self, redis: RedisServer) -> None:
        async with trio.open_nursery() as nursery:
            link, _ = await link_to(nursery, backplane_at(redis.url))
            keeps_all = Retention(messages=5000)
            for number in range(2500):
                link.number("topic:a", b"%d" % number, keeps_all)
            await link.flush()
            newest = (await link.read("topic:a", None, keeps_all)).newest
            position, sizes, bodies = Position(newest.epoch, 0), [], []
            while position != newest:
                stored = await link.read("topic:a", position, keeps_all)
                sizes.append(len(stored.messages))
                bodies += [body for _, body in stored.messages]
                position = stored.messages[-1][0]
            assert sizes == [1000, 1000, 500]
            assert bodies == [b"%d" % number for number in range(2500)]
            nursery.cancel_scope.cancel()

    async def test_offsets_that_were_told_are_not_given_again(self, redis: RedisServer) -> None:
        """A hub knows more than the server: it lost its newest messages, whatever it promised."""
        async with trio.open_nursery() as nursery:
            link, _ = await link_to(nursery, backplane_at(redis.url, durable=True))
            link.number("topic:a", b"1", KEPT)
            await link.flush()
            newest = (await link.read("topic:a", None, KEPT)).newest
            stored = await link.read("topic:a", Position(newest.epoch, 2), KEPT)
            assert stored.newest.epoch != newest.epoch
            assert stored.newest.offset == 0
            nursery.cancel_scope.cancel()

    async def test_what_nobody_sends_to_does_not_live_for_ever(self, redis: RedisServer) -> None:
        async with trio.open_nursery() as nursery:
            link, _ = await link_to(nursery, backplane_at(redis.url, history_life=1000))
            await link.read("topic:a", None, KEPT)
            key = f"{link.settings.prefix}:history:topic:a"
            assert 0 < await link._session._ask(b"TTL", key) <= 1000
            nursery.cancel_scope.cancel()

    async def test_a_clients_position_throws_nothing_away(
        self, redis: RedisServer, make_pair: Pairs
    ) -> None:
        async with linked_hub(backplane_at(redis.url)) as hub:
            _, member = make_pair()
            hub.register(member)
            hub.broadcast("x", topic="news.a")
            await hub.flush()
            newest = await hub.newest_position("news.a")
            for bad in (Position(newest.epoch, 99), Position("another", 99)):
                with pytest.raises(hubws.PositionLost):
                    await hub.recover(member, "news.a", bad)
            assert await hub.newest_position("news.a") == newest


class TestChannels:
    async def test_by_name_and_by_pattern_is_once(self, redis: RedisServer) -> None:
        backplane = backplane_at(redis.url, "odd*[prefix]?\\")
        async with trio.open_nursery() as nursery:
            link, notes = await link_to(nursery, backplane)
            await follow(link, notes, "topic:a.b", "topic:a.*", "topic:a.b.*")
            other, _ = await link_to(nursery, backplane)
            for channel in ("topic:a.b", "topic:a.b.c", "topic:a", "topic:ab", "topic:a.ü"):
                other.send(channel, b"x")
            link.unfollow("topic:a.*")
            await other.flush()
            await notes.until(lambda: len(notes.taken) >= 2)
            other.send("topic:a.b", b"last")
            await notes.until(lambda: ("topic:a.b", b"last") in notes.taken)
            assert [one for one in notes.taken if one[0] != "topic:a.ü"] == [
                ("topic:a.b", b"x"),
                ("topic:a.b.c", b"x"),
                ("topic:a.b", b"last"),
            ]
            nursery.cancel_scope.cancel()

    async def test_followed_while_it_connects(self, redis: RedisServer, monkeypatch) -> None:
        """Between the questions for channels and the answers, others are followed, and some no more."""
        subscribe = Session.subscribe
        changes = [
            lambda link: link.follow("topic:late"),
            lambda link: link.unfollow("topic:early"),
        ]

        def subscribe_and_change(session: Session, channels: Any) -> None:
            subscribe(session, channels)
            if session is not link._session and changes:
                changes.pop(0)(link)

        backplane = backplane_at(redis.url)
        async with trio.open_nursery() as nursery:
            other, _ = await link_to(nursery, backplane)
            monkeypatch.setattr(Session, "subscribe", subscribe_and_change)
            link = backplane.link(notes := Notes())
            link.follow("topic:early")
            async with link:
                assert changes == []
                for channel in ("early", "late"):
                    other.send(f"topic:{channel}", b"x")
                await notes.until(lambda: ("topic:late", b"x") in notes.taken)
                await follow(link, notes, "topic:end")
                assert set(link._session._wires.values()) == {
                    "beat",
                    "bye",
                    "topic:late",
                    "topic:end",
                }
            nursery.cancel_scope.cancel()

    async def test_what_no_hub_has_sent_is_passed_over(self, redis: RedisServer, caplog) -> None:
        async with trio.open_nursery() as nursery:
            link, notes = await link_to(nursery, backplane_at(redis.url))
            await follow(link, notes, "topic:a")
            for nonsense in (b"hello", b"x y - z\nhello", b"\xff 1 - 0\n"):
                await link._session._ask(b"PUBLISH", f"{link.settings.prefix}:topic:a", nonsense)
            link.number("topic:a", b"1", KEPT)
            await notes.until(lambda: notes.numbered)
            assert notes.taken == []
            assert "away" not in notes.said
            nursery.cancel_scope.cancel()
        assert caplog.text.count("what no hub has sent") == 3

    async def test_many_channels(self, redis: RedisServer) -> None:
        async with trio.open_nursery() as nursery:
            backplane = backplane_at(redis.url)
            link = backplane.link(notes := Notes())
            for number in range(1200):
                link.follow(f"topic:{number}")
            async with link:
                other, _ = await link_to(nursery, backplane)
                for number in range(1200):
                    other.send(f"topic:{number}", b"x")
                await notes.until(lambda: len(notes.taken) == 1200)
                for number in range(1200):
                    link.unfollow(f"topic:{number}")
                await follow(link, notes, "topic:end")
                assert set(link._session._wires.values()) == {"beat", "bye", "topic:end"}
            nursery.cancel_scope.cancel()

    async def test_prefixes_are_apart(self, redis: RedisServer) -> None:
        async with trio.open_nursery() as nursery:
            one, ones = await link_to(nursery, backplane_at(redis.url, "a"))
            other, others = await link_to(nursery, backplane_at(redis.url, "a:a"))
            await follow(one, ones, "topic:x")
            await follow(other, others, "topic:x")
            other.number("topic:x", b"2", KEPT)
            one.number("topic:x", b"1", KEPT)
            await ones.until(lambda: ones.numbered)
            await others.until(lambda: others.numbered)
            assert [ones.numbered, others.numbered] == [
                [("topic:x", 1, b"1")],
                [("topic:x", 1, b"2")],
            ]
            nursery.cancel_scope.cancel()


class TestBeats:
    """Without a server: what the link makes of what comes, and of the time."""

    async def test_who_was_not_read_yet_is_not_gone(self, autojump_clock) -> None:
        link = backplane_at("unix:///nowhere", heartbeat=1, timeout=3).link(notes := Notes())
        numbers = itertools.count(1)

        def beat(*origins: str) -> None:
            for origin in origins:
                link.take("beat", f"{origin} {next(numbers)} - 0\n{trio.current_time()}".encode())

        async with trio.open_nursery() as nursery:
            session: Any = Session(link)
            nursery.start_soon(link._beat_forever, session, lambda: None)
            await trio.testing.wait_all_tasks_blocked()
            beat(link.name, "other")
            await trio.sleep(1.9)
            beat(link.name)
            autojump_clock.jump(1.2)  # this process was busy, and what came is read only now
            await trio.testing.wait_all_tasks_blocked()
            assert notes.said == ["linked"]
            beat("other", link.name)
            await trio.sleep(2)
            beat(link.name)
            await trio.sleep(1.5)
            beat(link.name)
            await trio.sleep(1)
            assert notes.said == ["linked", "gone"]
            nursery.cancel_scope.cancel()

    async def test_those_that_do_not_get_out_do_not_pile_up(self) -> None:
        link = backplane_at("unix:///nowhere").link(Notes())
        for _ in range(100):
            link._beat()
        assert len(link._waiting) == 1


class TestBounds:
    async def test_what_comes_does_not_pile_up(self, redis: RedisServer) -> None:
        """coredis queues without bound: it must not read on while its queue is being emptied."""
        longest = 0

        class Slow(Notes):
            def take(self, origin: str, channel: str, body: bytes) -> None:
                nonlocal longest
                queue = link._session._listening._push_message_buffer_in
                longest = max(longest, queue.statistics().current_buffer_used)
                super().take(origin, channel, body)

        backplane = backplane_at(redis.url)
        async with trio.open_nursery() as nursery:
            notes = Slow()
            link = backplane.link(notes)
            link.follow("topic:a")
            other, _ = await link_to(nursery, backplane)
            async with link:
                for _ in range(8000):
                    other.send("topic:a", b"x" * 1000)
                await notes.until(lambda: len(notes.taken) == 8000)
            nursery.cancel_scope.cancel()
        assert 0 < longest < 1000  # some reads' worth; else nearly all 8,000

    async def test_room(self, redis: RedisServer) -> None:
        async with trio.open_nursery() as nursery:
            link, notes = await link_to(nursery, backplane_at(redis.url, max_bytes=1000))
            assert link.has_room(1000)
            link.send("topic:a", b"x" * 600)
            assert not link.has_room(600)
            assert notes.said == ["linked", "away"]
            await notes.until(lambda: notes.said.count("linked") == 2)
            assert link.has_room(1000)
            nursery.cancel_scope.cancel()


class TestBeginningAndEnd:
    async def test_what_was_sent_goes_out_at_the_end(self, redis: RedisServer) -> None:
        backplane = backplane_at(redis.url)
        async with trio.open_nursery() as nursery:
            other, notes = await link_to(nursery, backplane)
            await follow(other, notes, "topic:a")
            async with backplane.link(Notes()) as link:
                for number in range(1000):
                    link.send("topic:a", b"%d" % number)
            await notes.until(lambda: "gone" in notes.said)
            assert [body for _, body in notes.taken] == [b"%d" % n for n in range(1000)]
            nursery.cancel_scope.cancel()

    async def test_what_is_left_is_told(self, redis: RedisServer, caplog) -> None:
        async with open_way(redis) as way:
            way.swallow()
            async with backplane_at(way.url, timeout=0.2).link(notes := Notes()) as link:
                link.send("topic:a", b"x")
                assert notes.said == ["away"]
                with pytest.raises(BackplaneAway, match="Redis is away, so 'topic:a'"):
                    await link.read("topic:a", None, KEPT)
        with pytest.raises(BackplaneAway, match="has ended, and Redis did not take everything"):
            await link.flush()
        assert "ends with 1 messages that Redis did not take" in caplog.text

    async def test_a_reader_that_is_cut_off_comes_back(self, redis: RedisServer) -> None:
        async with open_way(redis) as way, trio.open_nursery() as nursery:
            # Reading fails before the second heartbeat that is missed.
            quick = backplane_at(way.url, timeout=0.3, heartbeat=0.29)
            link, notes = await link_to(nursery, quick)
            way.swallow()
            with pytest.raises(BackplaneAway, match="reading 'topic:a' failed: Redis did not"):
                await link.read("topic:a", None, KEPT)
            assert notes.said[:2] == ["linked", "away"]
            way.heal()
            await notes.until(lambda: notes.said.count("linked") == 2)
            nursery.cancel_scope.cancel()

    async def test_cancelled_at_any_moment(self, redis: RedisServer, caplog) -> None:
        caplog.set_level(logging.ERROR, "hubws")
        backplane = backplane_at(redis.url)
        opened = 0
        for steps in itertools.count(0, 3):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def cancel(scope: trio.CancelScope = scope, steps: int = steps) -> None:
                        for _ in range(steps):
                            await trio.testing.wait_all_tasks_blocked(0.0002)
                        scope.cancel()

                    async with linked_hub(backplane) as hub:
                        hub.broadcast("x", topic="news.a")
                        opened += 1
                        await trio.sleep_forever()
            assert scope.cancelled_caught
            if opened >= 5:
                break
        assert caplog.text == ""

    async def test_lag(self, redis: RedisServer) -> None:
        backplane = backplane_at(redis.url)
        assert math.isnan(backplane.link(Notes()).lag)
        async with linked_hub(backplane) as hub:
            assert 0 < hub.link_statistics().lag < 10

    async def test_nobody_there(self, tmp_path, caplog) -> None:
        backplane = backplane_at(f"unix://{tmp_path}/no.sock")
        async with linked_hub(backplane) as hub:
            assert hub.broadcast("x").sent == 0
            assert hub.link_statistics().unshared == 1
        assert "nobody answers at" in caplog.text


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"url": "http://localhost"}, "a URL is redis://, rediss:// or unix://, not 'http://"),
        ({"heartbeat": 0}, "heartbeat must be over 0 and finite, not 0"),
        ({"timeout": math.inf}, "timeout must be over 0 and finite, not inf"),
        ({"heartbeat": 5}, "timeout must be over heartbeat, 5 s, not 3.0"),
        ({"max_messages": -1}, "max_messages must be over 0 and finite, not -1"),
    ],
)
def test_settings(options, what) -> None:
    with pytest.raises(ValueError, match=what):
        RedisBackplane(**options)
