"""Several hubs are one: topics, broadcasts, presence and histories, over each backplane."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
import trio

import hubws
from hubws import Connection, Delivery, PositionLost, PresenceSnapshot, Roster, presence_from_json
from hubws.hub.linked import LinkedHub
from tests.backplane.conftest import linked_hub
from tests.connection.pairs import Pairs

Hubs: TypeAlias = tuple[LinkedHub, LinkedHub]


async def receive(client: Connection) -> Any:
    with trio.fail_after(20):
        return await client.receive()


async def envelopes(client: Connection, count: int) -> list[tuple[int, Any]]:
    found = [hubws.unwrap(await receive(client)) for _ in range(count)]
    return [(one.position.offset, one.message) for one in found]


async def has_joined(hub: LinkedHub, client: Connection, topic: str) -> None:
    """Wait until what other hubs send to a topic comes, which begins with the next they send."""
    while True:
        hub.broadcast("probe", topic=topic)
        with trio.move_on_after(0.02):
            assert await client.receive() == "probe"
            return


async def settle(client: Connection, hub: LinkedHub, **to: Any) -> list[Any]:
    """What came until a last message of that hub."""
    last = f"last of {hub.name}"
    hub.broadcast(last, **to)
    came = []
    while (message := await receive(client)) != last:
        came.append(message)
    return [one for one in came if one != "probe" and not one.startswith("last")]


class TestBroadcast:
    async def test_to_all_members_of_all_hubs_once(self, hubs: Hubs, make_pair: Pairs) -> None:
        (ada, adas), (mo, mos) = make_pair(), make_pair()
        one, other = hubs
        one.register(adas)
        other.register(mos)
        assert one.broadcast("hello") == Delivery(1, 0, 0)
        assert one.broadcast(b"\x00\n\xff").sent == 1
        for client in (ada, mo):
            assert await receive(client) == "hello"
            assert await receive(client) == b"\x00\n\xff"
        assert await settle(ada, one) == []
        assert await settle(mo, other) == []

    async def test_to_those_in_a_topic_by_whatever_name(self, hubs: Hubs, make_pair: Pairs) -> None:
        (ada, adas), (mo, mos), (lin, lins) = make_pair(), make_pair(), make_pair()
        one, other = hubs
        one.register(adas, "prices.EUR")
        other.register(mos, "prices.*", "prices.EUR")
        other.register(lins, "prices.GBP")
        await has_joined(one, mo, "prices.EUR")
        await has_joined(one, lin, "prices.GBP")
        for number in range(3):
            one.broadcast(f"{number}", topic="prices.EUR")
        assert await settle(mo, one, topic="prices.EUR") == ["0", "1", "2"]
        assert await settle(lin, one, topic="prices.GBP") == []
        assert await settle(ada, one, topic="prices.EUR") == ["0", "1", "2"]

    async def test_to_several_topics_once(self, hubs: Hubs, make_pair: Pairs) -> None:
        mo, mos = make_pair()
        one, other = hubs
        other.register(mos, "a", "b")
        one.broadcast("x", topic=["a", "b"])
        one.broadcast("y", topic=["b", "c"])
        assert await settle(mo, one) == ["x", "y"]

    async def test_to_a_user(self, hubs: Hubs, make_pair: Pairs) -> None:
        (ada, adas), (mo, mos) = make_pair(), make_pair()
        one, other = hubs
        one.register(adas, user="ada")
        other.register(mos, user=7)
        one.broadcast("for mo", user=7)
        other.broadcast("for ada", user="ada")
        assert await receive(ada) == "for ada"
        assert await settle(mo, one) == ["for mo"]
        with pytest.raises(TypeError, match=r"a user must be str or int, not \('a', 1\)"):
            one.broadcast("x", user=("a", 1))

    async def test_what_is_said_of_connections_stays(self, hubs: Hubs, make_pair: Pairs) -> None:
        (ada, adas), (mo, mos) = make_pair(), make_pair()
        one, other = hubs
        one.register(adas)
        other.register(mos)
        one.broadcast("to", to=[adas])
        one.broadcast("where", where=lambda connection: True)
        one.broadcast("exclude", exclude=adas)
        assert await settle(mo, one) == ["exclude"]
        assert [await receive(ada) for _ in range(2)] == ["to", "where"]

    async def test_policy_and_key_go_along(self, hubs: Hubs, make_pair: Pairs) -> None:
        mo, mos = make_pair()
        one, other = hubs
        other.register(mos, "t")
        await has_joined(one, mo, "t")
        with pytest.raises(ValueError, match="'block'"):
            one.broadcast("x", topic="t", policy="block")
        with pytest.raises(TypeError, match="a key must be str or int"):
            one.broadcast("x", topic="t", key=1.5)
        one.broadcast("x", topic="t", policy="latest", key="k")
        assert await settle(mo, one, topic="t") == ["x"]

    async def test_who_has_left_gets_no_more(self, hubs: Hubs, make_pair: Pairs) -> None:
        mo, mos = make_pair()
        one, other = hubs
        other.register(mos, "t")
        await has_joined(one, mo, "t")
        other.leave(mos, "t")
        one.broadcast("x", topic="t")
        assert await settle(mo, one) == []
        other.join(mos, "t")
        await has_joined(one, mo, "t")


class TestHistory:
    async def test_one_count_for_all_hubs(self, hubs: Hubs, make_pair: Pairs) -> None:
        (ada, adas), (mo, mos) = make_pair(), make_pair()
        one, other = hubs
        one.register(adas)
        other.register(mos)
        await one.recover(adas, "news.a", await one.newest_position("news.a"))
        await other.recover(mos, "news.a", await other.newest_position("news.a"))
        for number in range(5):
            hubs[number % 2].broadcast(f"{number}", topic="news.a")
        from_one, from_other = await envelopes(ada, 5), await envelopes(mo, 5)
        assert from_one == from_other
        assert [offset for offset, _ in from_one] == [1, 2, 3, 4, 5]
        assert {message for _, message in from_one} == {"0", "1", "2", "3", "4"}
        assert one.position("news.a") == other.position("news.a")

    async def test_who_moves_gets_what_was_missed(self, hubs: Hubs, make_pair: Pairs) -> None:
        mo, mos = make_pair()
        one, other = hubs
        start = await one.newest_position("news.a")
        for number in range(8):
            one.broadcast(f"{number}", topic="news.a")
        await one.flush()
        other.register(mos)
        reached = await other.recover(mos, "news.a", hubws.Position(start.epoch, 3))
        assert reached.offset == 8
        one.broadcast("8", topic="news.a")
        assert await envelopes(mo, 6) == [(n + 1, f"{n}") for n in range(3, 9)]

    async def test_lost_positions(self, hubs: Hubs, make_pair: Pairs) -> None:
        mo, mos = make_pair()
        one, other = hubs
        for hub in hubs:
            hub.configure("news.short", history=hubws.Retention(messages=3))
        start = await one.newest_position("news.short")
        for number in range(5):
            one.broadcast(f"{number}", topic="news.short")
        await one.flush()
        other.register(mos)
        for offset, epoch in [(1, start.epoch), (6, start.epoch), (4, "another")]:
            with pytest.raises(PositionLost) as lost:
                await other.recover(mos, "news.short", hubws.Position(epoch, offset))
            assert lost.value.newest == hubws.Position(start.epoch, 5)
            assert lost.value.oldest == hubws.Position(start.epoch, 2)
        await other.recover(mos, "news.short", hubws.Position(start.epoch, 2))
        assert await envelopes(mo, 3) == [(3, "2"), (4, "3"), (5, "4")]

    async def test_bounds_in_bytes(self, hubs: Hubs) -> None:
        one, other = hubs
        for hub in hubs:
            hub.configure("news.small", history=hubws.Retention(bytes=300))
        for _ in range(4):
            one.broadcast("x" * 100, topic="news.small")
        await one.flush()
        newest = await other.newest_position("news.small")
        stored = await other._link.read("topic:news.small", newest, hubws.Retention(bytes=300))
        assert (stored.newest.offset, stored.oldest.offset) == (4, 2)

    async def test_refuses_what_it_can_not_do(self, hubs: Hubs, make_pair: Pairs) -> None:
        _, mos = make_pair()
        one, _ = hubs
        one.register(mos)
        with pytest.raises(ValueError, match="has a history, so its messages go to all"):
            one.broadcast("x", topic="news.a", exclude=mos)
        with pytest.raises(TypeError, match="to one"):
            one.broadcast("x", topic="news.a", user="ada")
        with pytest.raises(ValueError, match="await newest_position"):
            one.position("news.a")
        with pytest.raises(ValueError, match="'other' has no history"):
            await one.newest_position("other")
        with pytest.raises(ValueError, match="'other' has no history"):
            await one.recover(mos, "other", "e:1")

    async def test_clients_resume_at_another_hub(self, hubs: Hubs, make_pair: Pairs) -> None:
        one, other = hubs
        (ada, adas), (mo, mos) = make_pair(), make_pair()
        one.register(adas)
        other.register(mos)
        assert await hubws.serve_recovery(one, adas, '{"recover":{"news.a":null}}')
        assert '"recovered":"news.a"' in await receive(ada)
        other.broadcast("x", topic="news.a")
        position = hubws.unwrap(await receive(ada)).position
        other.broadcast("y", topic="news.a")
        request = f'{{"recover":{{"news.a":"{position}"}}}}'
        await other.flush()
        assert await hubws.serve_recovery(other, mos, request)
        assert hubws.unwrap(await receive(mo)).message == "y"
        assert '"recovered":"news.a"' in await receive(mo)


class TestPresence:
    async def roster(self, client: Connection, *users: str | int) -> Roster:
        """What a client knows once these users are there."""
        roster = Roster("rooms.a")
        while set(roster.members) != set(users) or roster.is_behind:
            roster.apply(presence_from_json(await receive(client)))
        return roster

    async def test_members_of_all_hubs_are_seen(self, hubs: Hubs, make_pair: Pairs) -> None:
        (ada, adas), (mo, mos) = make_pair(), make_pair()
        one, other = hubs
        one.register(adas, "rooms.a", user="ada", info={"colour": "red"})
        other.register(mos, "rooms.a", user="mo")
        seen = await self.roster(ada, "ada", "mo")
        assert (await self.roster(mo, "ada", "mo")).members == seen.members
        assert seen.members["ada"].info == {"colour": "red"}
        assert {one.user for one in other.presence("rooms.a").members} == {"ada", "mo"}

    async def test_who_has_come_later_knows_all(self, hubs: Hubs, make_pair: Pairs) -> None:
        (_, adas), (_, mos), (lin, lins) = make_pair(), make_pair(), make_pair()
        one, other = hubs
        one.register(adas, "rooms.a", user="ada")
        one.register(mos, "rooms.a", user="mo")
        other.register(lins, "rooms.a", user="lin")
        await self.roster(lin, "ada", "mo", "lin")

    async def test_changes_and_leaving(self, hubs: Hubs, make_pair: Pairs) -> None:
        (ada, adas), (_, mos) = make_pair(), make_pair()
        one, other = hubs
        one.register(adas, "rooms.a", user="ada")
        other.register(mos, "rooms.a", user="mo")
        await self.roster(ada, "ada", "mo")
        other.join(mos, "rooms.a", info="busy")
        event = presence_from_json(await receive(ada))
        assert not isinstance(event, PresenceSnapshot)
        assert (event.kind, event.present.user, event.present.info) == ("updated", "mo", "busy")
        mos.abort()
        event = presence_from_json(await receive(ada))
        assert not isinstance(event, PresenceSnapshot)
        assert (event.kind, event.present.user, event.count) == ("left", "mo", 1)

    async def test_a_user_on_two_hubs_is_there_until_both_are_left(
        self, hubs: Hubs, make_pair: Pairs
    ) -> None:
        (ada, adas), (_, mos), (_, more) = make_pair(), make_pair(), make_pair()
        one, other = hubs
        one.register(adas, "rooms.a", user="ada")
        one.register(mos, "rooms.a", user="mo")
        other.register(more, "rooms.a", user="mo", info="two")
        await self.roster(ada, "ada", "mo")
        while presence_from_json(await receive(ada)).version < one.presence("rooms.a").version:
            pass
        one.leave(mos, "rooms.a")
        assert {here.user for here in one.presence("rooms.a").members} == {"ada", "mo"}
        other.leave(more, "rooms.a")
        event = presence_from_json(await receive(ada))
        assert (event.kind, event.present.user) == ("left", "mo")

    async def test_a_hub_that_ends_takes_its_members_along(
        self, backplane: Any, make_pair: Pairs
    ) -> None:
        (ada, adas), (_, mos) = make_pair(), make_pair()
        async with linked_hub(backplane) as one:
            one.register(adas, "rooms.a", user="ada")
            async with linked_hub(backplane) as other:
                other.register(mos, "rooms.a", user="mo")
                await self.roster(ada, "ada", "mo")
            event = presence_from_json(await receive(ada))
            assert (event.kind, event.present.user) == ("left", "mo")

    async def test_members_without_a_user_are_told_apart(
        self, hubs: Hubs, make_pair: Pairs
    ) -> None:
        (ada, adas), (_, mos) = make_pair(), make_pair()
        one, other = hubs
        one.register(adas, "rooms.a")
        other.register(mos, "rooms.a")
        await self.roster(ada, f"{one.name}:{adas.id}", f"{other.name}:{mos.id}")
