"""Presence: who is in a topic, on how many connections ever, and what the others are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubws.hub.presence import Presence, PresenceEvent, PresenceSnapshot, Present, User
from hubws.hub.roster import Roster, presence_from_json


@pytest.fixture
def presence() -> Presence[str]:
    """Its clock says how often it was asked."""
    return Presence(iter(range(100)).__next__)


def test_a_user_comes_and_goes(presence: Presence[str]) -> None:
    ada = Present("ada", {"mood": "well"}, since=0)
    joined = presence.join("lobby", "c1", "ada", {"mood": "well"})
    assert joined == PresenceEvent("lobby", 1, "joined", ada, count=1)
    assert presence.snapshot("lobby") == PresenceSnapshot("lobby", 1, (ada,))
    mo = Present("mo", None, since=1)
    assert presence.join("lobby", "c2", "mo") == PresenceEvent("lobby", 2, "joined", mo, count=2)
    assert presence.leave("lobby", "c1") == PresenceEvent("lobby", 3, "left", ada, count=1)
    assert presence.snapshot("lobby") == PresenceSnapshot("lobby", 3, (mo,))


def test_several_connections_are_one_presence(presence: Presence[str]) -> None:
    presence.join("lobby", "c1", "ada", "in")
    assert presence.join("lobby", "c2", "ada", "in") is None
    assert presence.join("lobby", "c2", "ada", "in") is None
    assert list(presence.connections("lobby", "ada")) == ["c1", "c2"]
    assert presence.count("lobby") == 1
    assert presence.leave("lobby", "c1") is None
    assert presence.leave("lobby", "c1") is None
    event = presence.leave("lobby", "c2")
    assert (event.kind, event.version) == ("left", 2)


def test_the_newest_info_of_those_still_there_holds(presence: Presence[str]) -> None:
    presence.join("lobby", "c1", "ada", "phone")
    event = presence.join("lobby", "c2", "ada", "desk")
    present = Present("ada", "desk", since=0)
    assert event == PresenceEvent("lobby", 2, "updated", present, count=1)
    presence.join("lobby", "c3", "ada", "train")
    assert presence.leave("lobby", "c1") is None
    event = presence.leave("lobby", "c3")
    assert (event.kind, event.present) == ("updated", present)
    presence.join("lobby", "c4", "ada", "train")
    event = presence.join("lobby", "c2", "ada", "desk")  # given again, so it is the newest
    assert (event.kind, event.present) == ("updated", present)
    assert presence.leave("lobby", "c4") is None
    assert presence.leave("lobby", "c2").present == present


def test_an_update_keeps_the_place(presence: Presence[str]) -> None:
    for number, user in enumerate(("ada", "mo", "lin")):
        presence.join("lobby", f"c{number}", user)
    presence.join("lobby", "c0", "ada", "new")
    assert [one.user for one in presence.snapshot("lobby").members] == ["ada", "mo", "lin"]


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (1, 1.0), ({"a": 0}, {"a": False}), (None, {})]
)
def test_info_that_json_tells_apart_is_an_update(
    presence: Presence[str], old: object, new: object
) -> None:
    presence.join("lobby", "c1", "ada", old)
    event = presence.join("lobby", "c1", "ada", new)
    assert event.kind == "updated"
    assert json.dumps(event.present.info) == json.dumps(new)


def test_info_is_copied(presence: Presence[str]) -> None:
    info: dict[Any, Any] = {"tags": ("a", "b"), 1: []}
    presence.join("lobby", "c1", "ada", info)
    info["tags"] = ()
    info[1].append("later")
    assert presence.snapshot("lobby").members[0].info == {"tags": ["a", "b"], "1": []}


def test_leave_all(presence: Presence[str]) -> None:
    for topic in ("a", "b", "c"):
        presence.join(topic, "c1", "ada")
    presence.join("b", "c2", "ada")
    events = presence.leave_all("c1")
    assert [(event.kind, event.topic) for event in events] == [("left", "a"), ("left", "c")]
    assert presence.leave_all("c1") == presence.leave_all("stranger") == []
    assert len(presence) == 1


@pytest.mark.parametrize(
    ("topic", "user", "info", "error"),
    [
        ("lobby", None, None, TypeError),
        ("lobby", True, None, TypeError),
        ("lobby", 1.0, None, TypeError),
        ("lobby", ("ada",), None, TypeError),
        ("lobby", "\ud800", None, ValueError),
        ("\ud800", "ada", None, ValueError),
        ("lobby", "ada", "\ud800", ValueError),
        ("lobby", "ada", float("nan"), ValueError),
        ("lobby", "ada", {"of": {1, 2}}, TypeError),
        ("lobby", "ada", {(1, 2): 3}, TypeError),
        ("lobby", "ada", b"bytes", TypeError),
        ("watched", "mo", None, ValueError),  # the connection is there as ada
    ],
)
def test_bad_input_changes_nothing(
    presence: Presence[str], topic: str, user: Any, info: object, error: type[Exception]
) -> None:
    presence.join("watched", "c1", "ada")
    with pytest.raises(error):
        presence.join(topic, "c1", user, info)
    assert len(presence) == 1
    assert presence.leave_all("c1") == [
        PresenceEvent("watched", 2, "left", Present("ada", None, since=0), count=0)
    ]


def test_versions_of_a_topic_that_was_empty_go_on(presence: Presence[str]) -> None:
    for _ in range(3):
        presence.join("busy", "c1", "ada")
        presence.leave("busy", "c1")
    assert presence.snapshot("busy") == PresenceSnapshot("busy", 6, ())
    assert presence.join("quiet", "c1", "ada").version == 7
    assert presence.leave("quiet", "c1").version == 8
    event = presence.join("busy", "c1", "ada")
    assert (event.version, event.tells_all) == (9, True)
    presence.join("other", "c1", "ada")
    assert presence.join("other", "c2", "mo").version == 10


def test_memory_is_that_of_the_members(presence: Presence[str]) -> None:
    for number in range(100):
        presence.join(f"topic {number}", f"c{number}", "ada")
        presence.leave_all(f"c{number}")
    assert len(presence) == 0
    assert presence._joined == presence._topics == {}
    assert presence.count("topic 1") == len(presence.connections("topic 1", "ada")) == 0


def test_connections_of_a_user_who_is_elsewhere(presence: Presence[str]) -> None:
    presence.join("lobby", "c1", "ada")
    assert list(presence.connections("lobby", "mo")) == []


TOPICS = ("a", "b")
Members = dict[User, Present]


class Watcher:
    """A client that follows one topic over a line that may delay, repeat, reorder and lose."""

    def __init__(self, topic: str, snapshot: PresenceSnapshot) -> None:
        self.roster = Roster(topic)
        self.line = [snapshot.to_json()]
        self.has_lost = False

    def take(self, at: int) -> None:
        self.roster.apply(presence_from_json(self.line.pop(at)))


class Presences(RuleBasedStateMachine):
    """Users come, go and change, on several connections; watchers begin at any time.

    The model is a list of connections with user and info in the order in which they were given, and
    what was true at every version.
    """

    def __init__(self) -> None:
        super().__init__()
        self.time = 0
        self.presence: Presence[int] = Presence(lambda: self.time)
        self.given: dict[str, list[tuple[int, str, int]]] = {topic: [] for topic in TOPICS}
        self.truth: dict[str, Members] = {topic: {} for topic in TOPICS}
        self.at: dict[tuple[str, int], Members] = {}
        self.version = dict.fromkeys(TOPICS, 0)
        self.watchers: list[Watcher] = []
        for topic in TOPICS:
            self.snapshot(topic)

    def snapshot(self, topic: str) -> PresenceSnapshot:
        """A snapshot, which must be the truth, and of no version that was something else."""
        snapshot = self.presence.snapshot(topic)
        assert list(snapshot.members) == list(self.truth[topic].values())
        assert self.version[topic] <= snapshot.version
        assert self.version[topic] == snapshot.version or not snapshot.members
        self.version[topic] = snapshot.version
        assert self.at.setdefault((topic, snapshot.version), self.truth[topic]) == self.truth[topic]
        return snapshot

    def changed(self, topic: str, event: PresenceEvent | None) -> None:
        """Work out the truth, compare what was announced with it, and tell the watchers."""
        before = self.truth[topic]
        infos: dict[User, int] = {user: info for _, user, info in self.given[topic]}
        since = {user: before[user].since if user in before else self.time for user in infos}
        stayed = [user for user in before if user in infos]
        came = [user for user in infos if user not in before]
        truth: Members = {}
        for user in stayed + came:
            truth[user] = Present(user, infos[user], since[user])
        self.truth[topic] = truth
        if event is None:
            assert truth == before
            return
        assert truth != before
        user = event.present.user
        kind = "joined" if user not in before else "updated" if user in truth else "left"
        present = (before if kind == "left" else truth)[user]
        version = (
            event.version if event.kind == "joined" and not before else self.version[topic] + 1
        )
        assert event == PresenceEvent(topic, version, kind, present, len(truth))  # type: ignore[arg-type]
        assert version > self.version[topic]
        self.version[topic] = version
        self.at[topic, version] = truth
        for watcher in self.watchers:
            if watcher.roster.topic == topic:
                watcher.line.append(event.to_json())

    @rule(connection=st.integers(0, 5), topic=st.sampled_from(TOPICS), info=st.integers(0, 2))
    def join(self, connection: int, topic: str, info: int) -> None:
        self.time += 1
        user = f"user {connection // 2}"
        self.forget(topic, connection)
        self.given[topic].append((connection, user, info))
        self.changed(topic, self.presence.join(topic, connection, user, info))

    def forget(self, topic: str, connection: int) -> None:
        self.given[topic] = [given for given in self.given[topic] if given[0] != connection]

    @rule(connection=st.integers(0, 5), topic=st.sampled_from(TOPICS))
    def leave(self, connection: int, topic: str) -> None:
        self.forget(topic, connection)
        self.changed(topic, self.presence.leave(topic, connection))

    @rule(connection=st.integers(0, 5))
    def disconnect(self, connection: int) -> None:
        events = {event.topic: event for event in self.presence.leave_all(connection)}
        for topic in TOPICS:
            self.forget(topic, connection)
            self.changed(topic, events.get(topic))

    @rule(topic=st.sampled_from(TOPICS))
    def watch(self, topic: str) -> None:
        self.watchers.append(Watcher(topic, self.snapshot(topic)))

    @precondition(lambda self: any(watcher.line for watcher in self.watchers))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Something on its way arrives, not always the first, and not always once."""
        watcher = data.draw(st.sampled_from([one for one in self.watchers if one.line]))
        at = data.draw(st.integers(0, len(watcher.line) - 1))
        if data.draw(st.booleans()):
            watcher.line.append(watcher.line[at])
        watcher.take(at)

    @precondition(lambda self: any(watcher.line for watcher in self.watchers))
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        watcher = data.draw(st.sampled_from([one for one in self.watchers if one.line]))
        watcher.line.pop(data.draw(st.integers(0, len(watcher.line) - 1)))
        watcher.has_lost = True

    @rule()
    def deliver_everything(self) -> None:
        """Whoever lost nothing knows the truth now; the others do with a new snapshot."""
        for watcher in self.watchers:
            while watcher.line:
                watcher.take(-1)
            topic = watcher.roster.topic
            if watcher.has_lost:
                watcher.roster.apply(self.snapshot(topic))
                watcher.has_lost = False
            assert list(watcher.roster.members.items()) == list(self.truth[topic].items())
            assert not watcher.roster.is_behind

    @invariant()
    def rosters_tell_what_was_true(self) -> None:
        for watcher in self.watchers:
            roster = watcher.roster
            expected = self.at[roster.topic, roster.version] if roster.version >= 0 else {}
            assert list(roster.members.items()) == list(expected.items())

    @invariant()
    def agree(self) -> None:
        for topic in TOPICS:
            assert self.presence.count(topic) == len(self.truth[topic])
            for user in ("user 0", "user 1", "user 2"):
                expected = [one for one, name, _ in self.given[topic] if name == user]
                assert list(self.presence.connections(topic, user)) == expected
        assert len(self.presence) == sum(map(bool, self.truth.values()))


TestPresences = Presences.TestCase
