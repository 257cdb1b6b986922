"""Presence as members see it: a snapshot when they join, then events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import hubws
from hubws import Connection, Hub, PresenceEvent, PresenceSnapshot, Roster, presence_from_json
from tests.connection.pairs import Pairs


@pytest.fixture
async def make_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("socket")
    yield pairs
    await pairs.end()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hubws.open_hub() as hub:
        hub.configure("rooms.*", presence=True)
        yield hub


async def news(client: Connection) -> PresenceEvent | PresenceSnapshot:
    with trio.fail_after(10):
        message = await client.receive()
    assert isinstance(message, str)
    return presence_from_json(message)


async def test_a_snapshot_then_events(hub: Hub, make_pair: Pairs) -> None:
    ada, adas = make_pair()
    mo, mos = make_pair()
    seen: list[PresenceEvent] = []
    hub.add_presence_callback(seen.append)
    hub.register(adas, "rooms.a", "quiet", user="ada", info={"colour": "red"})
    snapshot = await news(ada)
    assert snapshot == hub.presence("rooms.a")
    assert [(one.user, one.info) for one in hub.presence("rooms.a").members] == [
        ("ada", {"colour": "red"})
    ]
    hub.register(mos, "rooms.a")
    event = await news(ada)
    assert isinstance(event, PresenceEvent)
    assert (event.kind, event.present.user, event.present.info) == ("joined", mos.id, None)
    assert isinstance(await news(mo), PresenceSnapshot)
    hub.join(mos, "rooms.a", info="busy")
    for client in (ada, mo):
        event = await news(client)
        assert isinstance(event, PresenceEvent)
        assert (event.kind, event.present.info) == ("updated", "busy")
    adas.abort()
    event = await news(mo)
    assert isinstance(event, PresenceEvent)
    assert (event.kind, event.present.user) == ("left", "ada")
    hub.leave(mos, "rooms.a")
    assert [event.kind for event in seen] == ["joined", "joined", "updated", "left", "left"]
    assert hub.presence("rooms.a").members == ()
    hub.remove_presence_callback(seen.append)


async def test_one_user_on_several_connections(hub: Hub, make_pair: Pairs) -> None:
    _phone, phones = make_pair()
    desk, desks = make_pair()
    hub.register(phones, "rooms.a", user="ada")
    hub.register(desks, "rooms.a", user="ada")
    assert len(hub.presence("rooms.a").members) == 1
    phones.abort()
    assert len(hub.presence("rooms.a").members) == 1
    assert isinstance(await news(desk), PresenceSnapshot)
    desks.abort()
    assert hub.presence("rooms.a").members == ()


async def test_by_a_pattern_nobody_is_seen(hub: Hub, make_pair: Pairs) -> None:
    (ada, adas), (mo, mos) = make_pair(), make_pair()
    hub.register(adas, "rooms.*", user="ada")
    hub.register(mos, "rooms.*", "rooms.a", user="mo")
    snapshot = await news(mo)
    assert isinstance(snapshot, PresenceSnapshot)
    assert (snapshot.topic, [one.user for one in snapshot.members]) == ("rooms.a", ["mo"])
    assert hub.presence("rooms.*").members == ()
    hub.unregister(adas)
    hub.broadcast("last")
    assert await mo.receive() == "last"
    assert ada.statistics().messages_received == 0


async def test_a_hub_that_closes_tells_its_members_nothing(make_pair: Pairs) -> None:
    """They all leave: as many events for each as there are members might be more than it takes."""
    events: list[PresenceEvent] = []
    pairs = [make_pair() for _ in range(3)]
    async with hubws.open_hub() as hub:
        hub.configure("rooms.*", presence=True)
        hub.add_presence_callback(events.append)
        for number, (_, member) in enumerate(pairs):
            hub.register(member, "rooms.a", user=number)
    await trio.testing.wait_all_tasks_blocked()
    assert [client.statistics().messages_received for client, _ in pairs] == [3, 2, 1]
    assert [event.kind for event in events] == ["joined"] * 3 + ["left"] * 3


async def test_what_can_not_be_shown_changes_nothing(hub: Hub, make_pair: Pairs) -> None:
    _, server = make_pair()
    with pytest.raises(TypeError, match=r"a user is named by a str or an int"):
        hub.register(server, "b", "rooms.a", user=("a", "tuple"))
    with pytest.raises(TypeError, match="not JSON serializable"):
        hub.register(server, "b", "rooms.a", info=object())
    assert len(hub) == 0
    assert hub.topics() == set()
    hub.register(server, "rooms.a", user="ada")
    with pytest.raises(ValueError, match=r"is seen in 'rooms.a' as another user"):
        hub.register(server, user="mo")
    assert hub.user_of(server) == "ada"


@given(
    st.lists(st.tuples(st.sampled_from("jl"), st.integers(0, 4), st.integers(0, 2)), max_size=40)
)
def test_every_member_knows_the_truth(steps: list[tuple[str, int, int]]) -> None:
    """Over real connections: after whatever joins and leaves, rosters say what the hub says."""

    async def main() -> None:
        pairs = Pairs("memory")
        async with hubws.open_hub() as hub:
            hub.configure("room", presence=True)
            members = [pairs() for _ in range(5)]
            rosters: dict[int, Roster] = {}
            for number, (_, server) in enumerate(members):
                hub.register(server, user=f"user {number // 2}")
            for step, number, info in steps:
                server = members[number][1]
                if step == "j":
                    if number not in rosters:
                        rosters[number] = Roster("room")
                    hub.join(server, "room", info=info)
                else:
                    hub.leave(server, "room")
                    await follow(members[number][0], rosters.pop(number, None))
            for number, roster in rosters.items():
                await follow(members[number][0], roster)
                truth = {one.user: one for one in hub.presence("room").members}
                assert roster.members == truth
                assert not roster.is_behind
        await pairs.end()

    async def follow(client: Connection, roster: Roster | None) -> None:
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(client.statistics().inbox_messages):
            message = await client.receive()
            assert isinstance(message, str)
            if roster is not None:
                roster.apply(presence_from_json(message))

    trio.run(main)
