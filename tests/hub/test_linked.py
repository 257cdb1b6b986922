"""A hub's own part of being linked; what linked hubs do together is in tests/backplane/."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import trio

import hubws
from hubws import Delivery, Position
from hubws.hub.backplane import BackplaneAway, LocalBackplane
from hubws.hub.link_events import LinkEvent, LinkEventKind
from hubws.hub.linked import LinkedHub
from tests.connection.pairs import Pairs


@pytest.fixture
async def make_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("socket")
    yield pairs
    await pairs.end()


@pytest.fixture
async def hub() -> AsyncIterator[LinkedHub]:
    async with hubws.open_hub(backplane=LocalBackplane()) as hub:
        assert isinstance(hub, LinkedHub)
        hub.configure("news.*", history=hubws.Retention(messages=5))
        hub.configure("rooms.*", presence=True)
        yield hub


def followed(hub: LinkedHub) -> set[str]:
    return set(hub._link._followed)  # type: ignore[attr-defined]


async def test_follows_what_its_members_are_in(hub: LinkedHub, make_pair: Pairs) -> None:
    (_, ada), (_, mo) = make_pair(), make_pair()
    always = {"hubs", f"hub:{hub.name}"}
    assert followed(hub) == always
    hub.register(ada, "a", "b.*", "rooms.a")
    hub.register(mo, "a")
    topics = {"topic:a", "topic:b.*", "topic:rooms.a", "presence:rooms.a"}
    assert followed(hub) == always | topics
    hub.leave(ada, "a")
    hub.leave(ada, "a")
    assert followed(hub) == always | topics
    hub.leave(mo, "a")
    hub.unregister(ada)
    assert followed(hub) == always
    assert not hub._holds


async def test_mirrors_only_what_its_members_are_in(hub: LinkedHub, make_pair: Pairs) -> None:
    (_, ada), (_, mo) = make_pair(), make_pair()
    hub.register(ada, "news.a", "news.*")
    hub.register(mo, "news.b")
    for topic in ("news.a", "news.b", "news.c"):
        await hub.newest_position(topic)
        hub.broadcast("x", topic=topic)
    assert set(hub._mirrors.topics()) == {"news.a", "news.b", "news.c"}
    hub.unregister(ada)
    assert set(hub._mirrors.topics()) == {"news.b"}
    hub.unregister(mo)
    assert set(hub._mirrors.topics()) == set()


async def test_delivery_of_a_message_that_is_numbered(hub: LinkedHub, make_pair: Pairs) -> None:
    client, member = make_pair()
    hub.register(member, "news.a", policy="drop_oldest")
    assert hub.broadcast("x", topic="news.a") == Delivery(0, 0, 0)
    assert hubws.unwrap(await client.receive()).position.offset == 1
    assert hub.statistics().sent == 1
    statistics = hub.link_statistics()
    assert (statistics.is_linked, statistics.sent, statistics.received) == (True, 1, 1)


async def test_keys_and_envelopes_of_a_topic(hub: LinkedHub, make_pair: Pairs) -> None:
    client, member = make_pair()
    keys = []

    def key(message: str | bytes) -> str:
        keys.append(message)
        return "k"

    hub.configure(
        "news.a", history=hubws.Retention(), key=key, wrap=lambda text, topic, at: f"{at.offset}!"
    )
    hub.register(member, "news.a")
    hub.broadcast("x", topic="news.a")
    assert await client.receive() == "1!"
    assert keys == ["x"]


async def test_what_makes_no_sense_is_logged(hub: LinkedHub, caplog) -> None:
    hub.take("x", "topic:a", b"nonsense")
    hub.take("x", "hubs", b"nonsense")
    hub.take("x", "presence:rooms.a", b"nonsense")
    hub.take("x", "topic:news.a", b'{"text":true}\nplain')
    hub.take_numbered("topic:news.a", Position("e", 1), b"nonsense")
    assert hub.link_statistics().malformed == 5
    assert caplog.text.count("makes no sense here") == 5
    assert "'news.a' has a history here, and none where the message is from" in caplog.text


async def test_serves_alone_while_away(hub: LinkedHub, make_pair: Pairs) -> None:
    client, member = make_pair()
    hub.register(member)
    shared = await hub.newest_position("news.a")
    hub.away("a test")
    alone = hub.position("news.a")
    assert hub.broadcast("x", topic="news.a").position == Position(alone.epoch, 1)
    with pytest.raises(hubws.PositionLost):
        await hub.recover(member, "news.a", shared)
    assert await hub.recover(member, "news.a", alone) == hub.position("news.a")
    assert hub.broadcast("y", topic="news.a").sent == 1
    assert [hubws.unwrap(await client.receive()).message for _ in range(2)] == ["x", "y"]
    hub.linked()
    assert await hub.newest_position("news.a") == shared


async def test_link_callbacks(hub: LinkedHub) -> None:
    events: list[LinkEvent] = []
    hub.add_link_callback(events.append)
    hub.away("of no reason")
    hub.broadcast("x")
    assert hub.broadcast("y", topic="news.a").position.offset == 1
    assert hub.position("news.a").offset == 1
    assert await hub.newest_position("news.a") == hub.position("news.a")
    assert not hub.is_linked
    hub.linked()
    hub.remove_link_callback(events.append)
    hub.away("again")
    hub.linked()
    assert [(event.kind, event.unshared) for event in events] == [
        (LinkEventKind.AWAY, 0),
        (LinkEventKind.LINKED, 2),
    ]
    assert events[0].key == (LinkEventKind.AWAY, None)
    statistics = hub.link_statistics()
    assert (statistics.times_away, statistics.unshared) == (2, 2)


async def test_refuses_while_away(make_pair: Pairs) -> None:
    client, member = make_pair()
    backplane = LocalBackplane()
    async with hubws.open_hub(backplane=backplane, while_away="refuse") as hub:
        assert isinstance(hub, LinkedHub)
        hub.configure("news.*", history=hubws.Retention())
        hub.register(member)
        start = await hub.newest_position("news.a")
        await hub.recover(member, "news.a", start)
        hub.broadcast("x", topic="news.a")
        hub.away("a test")
        for options in ({}, {"topic": "news.a"}, {"topic": ["a", "b"]}, {"user": "ada"}):
            with pytest.raises(BackplaneAway, match="can't be sent to other hubs: a test"):
                hub.broadcast("x", **options)
        assert hub.broadcast("own", to=[member]).sent == 1
        hub.leave(member, "news.b")
        with pytest.raises(BackplaneAway, match=r"'news\.b' can't be read: a test"):
            await hub.recover(member, "news.b", start)
        assert await hubws.serve_recovery(hub, member, '{"recover":{"news.b":null}}')
        other, late = make_pair()
        hub.register(late)
        await hub.recover(late, "news.a", start)  # it has all of that
        assert hubws.unwrap(await other.receive()).message == "x"
        assert hub.link_statistics().refused == 4
        assert hubws.unwrap(await client.receive()).message == "x"
        assert await client.receive() == "own"
        assert '{"refused":"news.b"' in await client.receive()


async def test_waiting_for_a_mirror_ends_when_the_link_does(make_pair: Pairs) -> None:
    async with hubws.open_hub(backplane=LocalBackplane(), while_away="refuse") as hub:
        assert isinstance(hub, LinkedHub)
        hub.configure("news.*", history=hubws.Retention())
        hub._link.follow = lambda channel: None  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait() -> None:
                with pytest.raises(BackplaneAway, match="a test"):
                    await hub.newest_position("news.a")

            await trio.testing.wait_all_tasks_blocked()
            hub.away("a test")


async def test_rules_hold(make_pair: Pairs) -> None:
    _, member = make_pair()
    async with hubws.open_hub(
        backplane=LocalBackplane(), may_join=lambda connection, topic: False
    ) as hub:
        with pytest.raises(hubws.NotAllowed):
            hub.register(member, "a")
        assert not hub._holds  # type: ignore[attr-defined]


async def test_while_away_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="while_away is 'local' or 'refuse', not 'hope'"):
        async with hubws.open_hub(backplane=LocalBackplane(), while_away="hope"):  # type: ignore[arg-type]
            raise AssertionError


async def test_who_may_not_join_costs_the_backplane_nothing(make_pair: Pairs) -> None:
    client, member = make_pair()
    async with hubws.open_hub(
        backplane=LocalBackplane(), may_join=lambda connection, topic: topic == "plain"
    ) as hub:
        assert isinstance(hub, LinkedHub)
        hub.configure("news.*", history=hubws.Retention())
        hub.register(member)
        hub._link.follow = lambda channel: pytest.fail(channel)  # type: ignore[method-assign]
        for topic in ("news.a", "plain", "\\ud800"):
            assert await hubws.serve_recovery(hub, member, f'{{"recover":{{"{topic}":null}}}}')
            assert json.loads(await client.receive()).keys() == {"refused", "error"}
        assert not hub._holds


async def test_waiting_for_a_mirror_ends_with_the_hub(make_pair: Pairs) -> None:
    _, member = make_pair()
    async with trio.open_nursery() as nursery:
        async with hubws.open_hub(backplane=LocalBackplane()) as hub:
            assert isinstance(hub, LinkedHub)
            hub.configure("news.*", history=hubws.Retention())
            hub._link.follow = lambda channel: None  # type: ignore[method-assign]
            hub.register(member)

            @nursery.start_soon
            async def recover() -> None:
                with pytest.raises(ValueError, match="is no member of this hub"):
                    await hub.recover(member, "news.a", None)

            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.deadline = trio.current_time() + 10
    assert not nursery.cancel_scope.cancelled_caught


@pytest.mark.parametrize("by", ["channel", "reading"])
async def test_what_can_not_be_wrapped_is_left_out(by, make_pair: Pairs, caplog) -> None:
    """Whichever way it comes, and the hub goes on."""

    def wrap(message: str | bytes, topic: str, at: Position) -> str:
        if message == "bad":
            raise ValueError("not this one")
        return f"{at.offset} {message!s}"

    client, member = make_pair()
    backplane = LocalBackplane()
    async with (
        hubws.open_hub(backplane=backplane) as hub,
        hubws.open_hub(backplane=backplane) as to,
    ):
        assert isinstance(hub, LinkedHub)
        for one in (hub, to):
            one.configure("news.a", history=hubws.Retention(), wrap=wrap)
        hub.register(member, "news.a")
        await hub.newest_position("news.a")
        if by == "reading":
            take, hub._link.receiver.take_numbered = hub.take_numbered, lambda *_: None  # type: ignore[attr-defined]
        for message in ("first", "bad", "last"):
            to.broadcast(message, topic="news.a")
        if by == "reading":
            hub._link.receiver.take_numbered = take  # type: ignore[attr-defined]
            hub.away("a test")
            hub.linked()
        assert [await client.receive() for _ in range(2)] == ["1 first", "3 last"]
        assert hub.link_statistics().malformed == 1
    assert "not this one" in caplog.text


async def test_much_presence_at_once_is_a_snapshot(hub: LinkedHub, make_pair: Pairs) -> None:
    client, member = make_pair()
    events: list[hubws.PresenceEvent] = []
    hub.add_presence_callback(events.append)
    hub.register(member, "rooms.a", user="ada")
    roster = hubws.Roster("rooms.a")

    async def take() -> None:
        message = await client.receive()
        assert isinstance(message, str)
        roster.apply(hubws.presence_from_json(message))

    await take()
    others = [[number, number, None, 1.0] for number in range(2000)]  # more than an outbox takes
    hub.take("x", f"hub:{hub.name}", json.dumps({"all": ["rooms.a", others]}).encode())
    await take()
    assert set(roster.members) == {"ada", *range(2000)}
    hub.take("x", "presence:rooms.a", b'{"leave":["rooms.a",7]}')
    await take()
    assert roster.version == hub.presence("rooms.a").version
    hub.gone("x")
    await take()
    assert set(roster.members) == {"ada"}
    assert not roster.is_behind
    assert len(events) == 1 + 2000 + 1 + 1999
    assert member.closure is None
