"""What hubs tell each other of presence."""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws import PresenceEvent
from hubws.hub.presence import Presence
from hubws.hub.remote_presence import RemotePresence


class One:
    """The presence of one hub, whose connections are their numbers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.presence: Presence[Hashable] = Presence(lambda: 0.0)
        self.here: dict[str, set[int]] = {}
        self.sent: list[tuple[str, Any]] = []
        self.told: list[PresenceEvent] = []
        self.remote = RemotePresence(self.presence, self.local, self.send, self.tell)

    def local(self, topic: str) -> list[tuple[int, Hashable]]:
        return [(number, number) for number in sorted(self.here.get(topic, ()))]

    def send(self, channel: str, body: bytes) -> None:
        self.sent.append((channel, json.loads(body)))

    def tell(self, events: list[PresenceEvent], topic: str) -> None:
        assert all(event.topic == topic for event in events)
        self.told += events

    def join(self, topic: str, number: int, user: str, info: Any = None) -> None:
        if not self.here.get(topic):
            self.remote.follow(topic)
        self.presence.join(topic, number, user, info)
        self.here.setdefault(topic, set()).add(number)
        self.remote.joined(topic, number, number)

    def leave(self, topic: str, number: int) -> None:
        self.presence.leave(topic, number)
        self.here[topic].remove(number)
        self.remote.left(topic, number)
        if not self.here[topic]:
            self.remote.unfollow(topic)

    def users(self, topic: str) -> set[Any]:
        return {present.user for present in self.presence.snapshot(topic).members}

    def take(self, origin: str, **said: Any) -> None:
        self.remote.take(origin, json.dumps(said).encode())


def test_what_is_told() -> None:
    one = One("one")
    one.join("t", 1, "ada", {"colour": "red"})
    one.remote.ask("t")
    one.remote.ask("unknown")
    one.leave("t", 1)
    assert one.sent == [
        ("presence:t", {"join": ["t", 1, "ada", {"colour": "red"}, 0.0]}),
        ("hubs", {"who": ["t"], "empty": False}),
        ("presence:t", {"leave": ["t", 1]}),
    ]


def test_what_is_answered() -> None:
    one = One("one")
    one.join("t", 1, "ada")
    one.sent.clear()
    one.take("other", who=["t", "u"], empty=False)
    one.take("other", who=["t", "u"], empty=True)
    everything = ("hub:other", {"all": ["t", [[1, "ada", None, 0.0]]]})
    assert one.sent == [everything, everything, ("hub:other", {"all": ["u", []]})]


def test_a_list_takes_the_place_of_what_was_known() -> None:
    one = One("one")
    one.join("t", 1, "ada")
    one.take("x", join=["t", 1, "mo", None, 5.0])
    one.take("x", join=["t", 2, "lin", None, 6.0])
    one.take("y", join=["t", 1, "sam", None, 7.0])
    assert one.users("t") == {"ada", "mo", "lin", "sam"}
    one.take("x", all=["t", [[2, "lin", "busy", 6.0], [3, "kim", None, 8.0]]])
    assert one.users("t") == {"ada", "lin", "kim", "sam"}
    assert [(event.kind, event.present.user) for event in one.told[3:]] == [
        ("left", "mo"),
        ("updated", "lin"),
        ("joined", "kim"),
    ]
    assert [event.present.since for event in one.told[:3]] == [5.0, 6.0, 7.0]
    one.sent.clear()
    one.remote.gone("x")
    assert one.users("t") == {"ada", "sam"}
    assert set(one.remote.origins()) == {"y"}
    assert one.sent == [("hub:x", {"who": ["t"], "empty": False})]  # it may only have been silent


def test_what_nobody_here_follows_is_passed_over() -> None:
    one = One("one")
    one.take("x", join=["t", 1, "mo", None, 5.0])
    one.take("x", all=["t", [[1, "mo", None, 5.0]]])
    one.take("x", leave=["t", 1])
    assert one.users("t") == set()
    one.join("t", 1, "ada")
    one.take("x", join=["t", 1, "mo", None, 5.0])
    one.leave("t", 1)
    assert one.users("t") == set()
    one.take("y", leave=["t", 1])
    one.take("y", leave=["u", 1])
    assert set(one.remote.origins()) == {"x"}


@pytest.mark.parametrize("body", [b"x", b"{}", b'{"join":[1]}', b'{"join":["t",1,[],null,0]}'])
def test_nonsense_is_refused(body) -> None:
    one = One("one")
    one.join("t", 1, "ada")
    with pytest.raises((ValueError, TypeError)):
        one.remote.take("x", body)


@given(st.data())
def test_hubs_agree_in_the_end(data: st.DataObject) -> None:
    """Each hears what others say in order, may miss some while it is away, and then asks anew."""
    hubs = {name: One(name) for name in "abc"}
    waiting: dict[tuple[str, str], list[Any]] = {}
    away: set[str] = set()

    def carry() -> None:
        """What is sent joins the queue of each who hears it; who is away neither sends nor hears."""
        for hub in hubs.values():
            for channel, said in hub.sent:
                for other in hubs.values():
                    kind, _, name = channel.partition(":")
                    hears = kind == "hubs" or name == other.name or name in other.here
                    if other is not hub and hears and not away & {hub.name, other.name}:
                        waiting.setdefault((hub.name, other.name), []).append(said)
            hub.sent.clear()

    def hear(pair: tuple[str, str]) -> None:
        hubs[pair[1]].take(pair[0], **waiting[pair].pop(0))
        carry()

    def back(name: str) -> None:
        away.discard(name)
        hubs[name].remote.ask_anew()
        carry()

    numbers = itertools.count(1)
    for _ in range(data.draw(st.integers(0, 25))):
        hub = hubs[data.draw(st.sampled_from("abc"))]
        here = sorted(hub.here.get("t", ()))
        match data.draw(st.sampled_from(["join", "leave", "away", "back", "hear"])):
            case "join":
                first = not here
                hub.join("t", next(numbers), data.draw(st.sampled_from(["ada", "mo", "lin"])))
                if first:
                    hub.remote.ask("t")
            case "leave" if here:
                hub.leave("t", data.draw(st.sampled_from(here)))
            case "away":
                away.add(hub.name)
                for pair in list(waiting):
                    if hub.name in pair:
                        waiting[pair].clear()
            case "back" if hub.name in away:
                back(hub.name)
            case "hear":
                for pair in [pair for pair, said in waiting.items() if said]:
                    hear(pair)
        carry()
    for name in list(away):
        back(name)
    while full := [pair for pair, said in waiting.items() if said]:
        hear(full[0])
    everyone = {
        hub.presence.given("t", number).user
        for hub in hubs.values()
        for number in hub.here.get("t", ())
    }
    for hub in hubs.values():
        assert hub.users("t") == (everyone if hub.here.get("t") else set())
