"""Hubs whose Redis is killed, paused or cut off: what arrives, by the sequence numbers in messages."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import trio

import hubws
from hubws import Connection
from hubws.hub.backplane import BackplaneAway
from hubws.hub.link_events import LinkEvent, LinkEventKind
from hubws.hub.linked import LinkedHub
from tests.backplane.conftest import backplane_at, linked_hub
from tests.backplane.redis_server import RedisServer, open_way
from tests.connection.pairs import Pairs

TOPIC = "news.a"


class Follower:
    """A member of a hub, what it got, and what its hub said of the link."""

    def __init__(self, hub: LinkedHub, client: Connection, member: Connection) -> None:
        self.hub = hub
        self.numbered: list[int] = []
        self.plain: list[int] = []
        self.epochs: dict[str, None] = {}
        self.events: list[LinkEvent] = []
        self._client = client
        self._member = member
        self._news = trio.lowlevel.ParkingLot()
        hub.add_link_callback(self._note)

    def _note(self, event: LinkEvent) -> None:
        self.events.append(event)
        self._news.unpark_all()

    async def join(self) -> None:
        """Join the plain topic, then the one with a history."""
        self.hub.register(self._member, "plain")
        await self.hub.recover(self._member, TOPIC, await self.hub.newest_position(TOPIC))

    async def read(self) -> None:
        async for message in self._client:
            try:
                envelope = hubws.unwrap(message)
            except ValueError:
                self.plain.append(int(message))
            else:
                self.numbered.append(int(envelope.message))
                self.epochs[envelope.position.epoch] = None
            self._news.unpark_all()

    async def until(self, condition: Any) -> None:
        with trio.fail_after(30):
            while not condition():
                await self._news.park()

    async def has(self, kind: LinkEventKind, count: int = 1) -> None:
        await self.until(lambda: [one.kind for one in self.events].count(kind) >= count)

    async def got(self, number: int) -> None:
        """A numbered message has come."""
        await self.until(lambda: number in self.numbered)

    async def got_plain(self, number: int) -> None:
        await self.until(lambda: number in self.plain)


@contextlib.asynccontextmanager
async def followers(make_pair: Pairs, *hubs: LinkedHub) -> AsyncIterator[list[Follower]]:
    found = [Follower(hub, *make_pair()) for hub in hubs]
    async with trio.open_nursery() as nursery:
        for one in found:
            await one.join()
            nursery.start_soon(one.read)
        yield found
        nursery.cancel_scope.cancel()


async def publish(hub: LinkedHub, number: int, topic: str = TOPIC) -> None:
    """Send a number, again and again while the hub refuses it."""
    with trio.fail_after(30):
        while True:
            try:
                hub.broadcast(str(number), topic=topic)
            except BackplaneAway:
                await trio.sleep(0.01)
            else:
                return


async def test_killed_and_started_again_nothing_is_lost_or_doubled(
    durable: RedisServer, make_pair: Pairs
) -> None:
    backplane = backplane_at(durable.url, durable=True)
    async with (
        linked_hub(backplane, while_away="refuse") as one,
        linked_hub(backplane, while_away="refuse") as other,
        followers(make_pair, one, other) as both,
    ):
        accepted = []
        for number in range(300):
            await publish(one if number % 3 else other, number)
            accepted.append(number)
            if number in {100, 200}:
                durable.kill()
                for hub, extra in ((one, 1000 + number), (other, 2000 + number)):
                    with contextlib.suppress(BackplaneAway):
                        hub.broadcast(str(extra), topic=TOPIC)
                        accepted.append(extra)  # it is in flight, and must be sent again
                durable.start()
            await trio.lowlevel.checkpoint()
        await publish(one, 9998)
        await publish(other, 9999)
        for follower in both:
            await follower.got(9998)
            await follower.got(9999)
            assert sorted(follower.numbered) == sorted([*accepted, 9998, 9999])
        assert both[0].numbered == both[1].numbered
        assert [len(follower.epochs) for follower in both] == [1, 1]
        assert one.link_statistics().gaps == other.link_statistics().gaps == 0
        assert one.link_statistics().times_away > 0


async def test_a_server_that_forgets_is_a_gap_that_is_told(
    frail: RedisServer, make_pair: Pairs
) -> None:
    backplane = backplane_at(frail.url)
    async with linked_hub(backplane) as hub, followers(make_pair, hub) as (ada,):
        await publish(hub, 1)
        await ada.got(1)
        before = hub.position(TOPIC)
        frail.kill()
        await ada.has(LinkEventKind.AWAY)
        assert not hub.is_linked
        # The hub serves its own members, by an epoch of its own.
        assert hub.broadcast("2", topic=TOPIC).sent == 1
        assert hub.broadcast("3", topic="plain").sent == 1
        alone = hub.position(TOPIC)
        assert alone.epoch != before.epoch
        with pytest.raises(hubws.PositionLost):
            hub._history(TOPIC).since(before)
        frail.start()
        await ada.has(LinkEventKind.LINKED, 1)
        await ada.has(LinkEventKind.GAP)
        await publish(hub, 4)
        await ada.got(4)
        assert ada.numbered == [1, 2, 4]
        assert ada.plain == [3]
        assert len(ada.epochs) == 3
        last = [one for one in ada.events if one.kind is LinkEventKind.LINKED][-1]
        assert last.unshared == 2
        _, member = make_pair()
        hub.register(member)
        for position in (before, alone):
            with pytest.raises(hubws.PositionLost):
                await hub.recover(member, TOPIC, position)


async def test_paused_nothing_is_lost_or_doubled(durable: RedisServer, make_pair: Pairs) -> None:
    backplane = backplane_at(durable.url, durable=True, timeout=0.5)
    async with (
        linked_hub(backplane, while_away="refuse") as one,
        linked_hub(backplane, while_away="refuse") as other,
        followers(make_pair, one, other) as (ada, mo),
    ):
        await publish(one, 0)
        with durable.paused():
            await publish(one, 1)  # accepted, as nobody knows yet
            one.broadcast("1", topic="plain")
            await ada.has(LinkEventKind.AWAY)
            await mo.has(LinkEventKind.AWAY)
            assert "heartbeat" in ada.events[-1].detail
            with pytest.raises(BackplaneAway, match="can't be sent to other hubs"):
                one.broadcast("2", topic=TOPIC)
            with pytest.raises(BackplaneAway):
                one.broadcast("2", topic="plain")
        await publish(one, 2)
        await publish(other, 3)
        for follower in (ada, mo):
            await follower.got(2)
            await follower.got(3)
            assert sorted(follower.numbered) == [0, 1, 2, 3]
        assert ada.numbered == mo.numbered
        assert ada.plain == [1]
        assert one.link_statistics().refused >= 2


async def test_cut_off_one_hub_catches_up(redis: RedisServer, make_pair: Pairs) -> None:
    async with open_way(redis) as way:
        near = backplane_at(redis.url, timeout=0.5)
        far = backplane_at(way.url, near.prefix, timeout=0.5)
        async with (
            linked_hub(near) as one,
            linked_hub(far) as other,
            followers(make_pair, one, other) as (ada, mo),
        ):
            await publish(one, 0)
            await publish(one, 0, "plain")
            await mo.got(0)
            await mo.got_plain(0)
            way.swallow()
            await mo.has(LinkEventKind.AWAY)
            for number in (1, 2):
                await publish(one, number)
                await publish(one, number, "plain")
            await ada.got(2)
            way.heal()
            await mo.has(LinkEventKind.LINKED)
            await mo.got(2)
            await publish(one, 3)
            await publish(one, 3, "plain")
            await mo.got(3)
            await mo.got_plain(3)
            assert ada.numbered == mo.numbered == [0, 1, 2, 3]
            assert ada.plain == [0, 1, 2, 3]
            assert mo.plain == [0, 3]  # what came while it was away is gone: no history
            assert len(mo.epochs) == 1


async def test_too_much_for_the_link_counts_as_away(redis: RedisServer, make_pair: Pairs) -> None:
    backplane = backplane_at(redis.url, max_messages=10)
    async with (
        linked_hub(backplane, while_away="refuse") as one,
        linked_hub(backplane) as other,
        followers(make_pair, one, other) as (ada, mo),
    ):
        waiting = len(one._link._waiting)  # type: ignore[attr-defined]
        for number in range(10 - waiting):
            one.broadcast(str(number), topic=TOPIC)
        with pytest.raises(BackplaneAway, match=r"10 messages, \d+ bytes, wait for Redis"):
            one.broadcast("too much", topic=TOPIC)
        await ada.has(LinkEventKind.LINKED)
        await publish(one, 1000)
        await mo.got(1000)
        assert mo.numbered == [*range(10 - waiting), 1000]


async def news(client: Connection) -> hubws.PresenceEvent | hubws.PresenceSnapshot:
    message = await client.receive()
    assert isinstance(message, str)
    return hubws.presence_from_json(message)


PROGRAM = """
import sys
import hubws, trio
from hubws.testing import open_pair
from tests.backplane.conftest import backplane_at, linked_hub

async def main():
    async with linked_hub(backplane_at(*sys.argv[1:])) as hub, open_pair() as (client, server):
        hub.register(server, "rooms.a", user="victim")
        await hub.flush()
        await trio.sleep_forever()

trio.run(main)
"""


async def test_a_worker_that_is_killed_is_noticed(redis: RedisServer, make_pair: Pairs) -> None:
    backplane = backplane_at(redis.url)
    client, member = make_pair()
    async with linked_hub(backplane) as hub:
        hub.register(member, "rooms.a", user="ada")
        arguments = [sys.executable, "-c", PROGRAM, redis.url, backplane.prefix]
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, arguments, check=False, stdout=subprocess.DEVNULL)
            process: trio.Process = await nursery.start(run)
            with trio.fail_after(30):
                while not isinstance(event := await news(client), hubws.PresenceEvent):
                    pass
                assert (event.kind, event.present.user) == ("joined", "victim")
                process.send_signal(signal.SIGKILL)
                left = await news(client)
        assert isinstance(left, hubws.PresenceEvent)
        assert (left.kind, left.present.user) == ("left", "victim")
        assert [one.user for one in hub.presence("rooms.a").members] == ["ada"]


async def test_a_hub_opens_without_redis(redis: RedisServer, make_pair: Pairs) -> None:
    async with open_way(redis) as way:
        way.swallow()
        events: list[LinkEvent] = []
        linked = trio.Event()
        async with linked_hub(backplane_at(way.url, timeout=0.3), while_away="refuse") as hub:
            hub.add_link_callback(events.append)
            hub.add_link_callback(lambda event: linked.set() if hub.is_linked else None)
            with pytest.raises(BackplaneAway, match=r"can.t be sent to other hubs: .*127.0.0.1"):
                hub.broadcast("x")
            with pytest.raises(BackplaneAway, match=r"'news.a' can't be read"):
                await hub.newest_position(TOPIC)
            way.heal()
            with trio.fail_after(20):
                await linked.wait()
            assert hub.broadcast("x").sent == 0


async def test_a_hub_that_was_only_silent_is_seen_again(
    redis: RedisServer, make_pair: Pairs
) -> None:
    backplane = backplane_at(redis.url)
    (client, adas), (_, mos) = make_pair(), make_pair()
    async with linked_hub(backplane) as one, linked_hub(backplane) as other:
        one.register(adas, "rooms.a", user="ada")
        other.register(mos, "rooms.a", user="mo")
        with trio.fail_after(30):
            while len(one.presence("rooms.a").members) < 2:
                await news(client)
            one._link._heard[other.name] = -100.0  # type: ignore[attr-defined]
            said = []
            while said[-2:] != ["left", "joined"]:
                event = await news(client)
                assert isinstance(event, hubws.PresenceEvent)
                said.append(event.kind)
        assert {here.user for here in one.presence("rooms.a").members} == {"ada", "mo"}


@pytest.mark.parametrize("while_away", ["local", "refuse"])
async def test_all_that_a_hub_does_without_redis(while_away, tmp_path, make_pair: Pairs) -> None:
    """What needs the other hubs says so; what doesn't is done; nothing waits."""
    refuses = while_away == "refuse"
    (ada, adas), (_, mos) = make_pair(), make_pair()
    away = pytest.raises(BackplaneAway) if refuses else contextlib.nullcontext()
    backplane = backplane_at(f"unix://{tmp_path}/no.sock")
    with trio.fail_after(30):
        async with linked_hub(backplane, while_away=while_away) as hub:
            hub.register(adas, "plain", "rooms.a", user="ada", info="here")
            async with hub.member(mos, "rooms.a", user="mo"):
                assert {one.user for one in hub.presence("rooms.a").members} == {"ada", "mo"}
                hub.join(mos, "other.*")
                hub.leave(mos, "other.*")
            told = [await news(ada) for _ in range(3)]
            assert [getattr(one, "kind", "snapshot") for one in told] == [
                "snapshot", "joined", "left",
            ]  # fmt: skip
            assert (list(hub), hub.get(adas.id), hub.user_of(adas)) == ([adas], adas, "ada")
            assert (set(hub.users()), set(hub.connections_of("ada"))) == ({"ada"}, {adas})
            assert set(hub.topics()) == {"plain", "rooms.a"}
            assert set(hub.members("plain")) == {adas}
            assert (hub.ping(), hub.ping(topic="plain")) == (1, 1)
            assert hub.broadcast("to", to=[adas]).sent == 1
            assert hub.broadcast("where", where=lambda one: True).sent == 1
            for options in ({}, {"topic": "plain"}, {"topic": ["plain", "x"]}, {"user": "ada"}):
                with away:
                    assert hub.broadcast("shared", **options).sent == 1
            with away:
                assert hub.publish(adas, "shared", "plain").sent == 1
            with away:
                await hub.recover(adas, TOPIC, None)
                assert hub.broadcast("1", topic=TOPIC).position == hub.position(TOPIC)
                assert await hub.newest_position(TOPIC) == hub.position(TOPIC)
            with away:
                await hub.newest_position(TOPIC)
            if refuses:
                with pytest.raises(ValueError, match="await newest_position"):
                    hub.position(TOPIC)
                with pytest.raises(BackplaneAway):
                    hub.broadcast("1", topic=TOPIC)
            hub.register(mos)
            with pytest.raises(hubws.PositionLost if not refuses else BackplaneAway):
                await hub.recover(mos, TOPIC, "elsewhere:7")
            answer = await hubws.broadcast_with_acknowledgements(hub, "?", timeout=0)
            assert set(answer.missing) == {adas, mos}
            statistics = hub.link_statistics()
            assert not statistics.is_linked
            assert not hub.is_linked
            counted = (statistics.refused, statistics.unshared)
            assert counted == ((6, 0) if refuses else (0, 6))
            assert hub.statistics().members == len((await hub.snapshot())["members"]) == 2
            await hub.flush()  # nothing was accepted
        with pytest.raises(RuntimeError, match="the hub is closed"):
            hub.register(adas)
        with away:
            assert hub.broadcast("closed").sent == 0


async def test_presence_is_told_anew_when_the_link_is_back(
    redis: RedisServer, make_pair: Pairs
) -> None:
    async with open_way(redis) as way:
        near = backplane_at(redis.url, timeout=0.5)
        far = backplane_at(way.url, near.prefix, timeout=0.5)
        async with linked_hub(near) as one, linked_hub(far) as other:
            users: dict[LinkedHub, set[object]] = {one: set(), other: set()}
            changed = trio.lowlevel.ParkingLot()

            def note(hub: LinkedHub, event: hubws.PresenceEvent | LinkEvent) -> None:
                users[hub] = {here.user for here in hub.presence("rooms.a").members}
                changed.unpark_all()

            for hub in (one, other):
                hub.add_presence_callback(partial(note, hub))
                hub.add_link_callback(partial(note, hub))

            async def until(near_users: set[str], far_users: set[str]) -> None:
                with trio.fail_after(30):
                    while (users[one], users[other]) != (near_users, far_users):
                        await changed.park()

            members = {name: make_pair()[1] for name in ("ada", "mo", "lin", "sam")}
            one.register(members["ada"], "rooms.a", user="ada")
            other.register(members["mo"], "rooms.a", user="mo")
            await until({"ada", "mo"}, {"ada", "mo"})
            way.swallow()
            await until({"ada"}, {"ada", "mo"})  # who can't be heard is gone; who can't hear stays
            with trio.fail_after(30):
                while other.is_linked:
                    await changed.park()
            one.leave(members["ada"], "rooms.a")
            one.register(members["lin"], "rooms.a", user="lin")
            other.register(members["sam"], "rooms.a", user="sam")
            way.heal()
            await until({"lin", "mo", "sam"}, {"lin", "mo", "sam"})
