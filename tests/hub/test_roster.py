"""A client's roster: snapshots, events in any order, and what is read from JSON."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.hub import roster as module
from hubws.hub.presence import Kind, Presence, PresenceEvent, PresenceSnapshot, Present
from hubws.hub.roster import Roster, presence_from_json

News: TypeAlias = PresenceEvent | PresenceSnapshot


def event(version: int, kind: Kind, user: str, count: int) -> PresenceEvent:
    return PresenceEvent("t", version, kind, Present(user, None, 0.0), count)


def snapshot(version: int, *users: str) -> PresenceSnapshot:
    return PresenceSnapshot("t", version, tuple(Present(user, None, 0.0) for user in users))


def test_a_snapshot_and_what_follows() -> None:
    roster = Roster("t")
    assert (roster.version, roster.is_behind, roster.members) == (-1, True, {})
    assert roster.apply(snapshot(5, "ada", "mo"))
    assert roster.apply(event(6, "joined", "lin", 3))
    assert roster.apply(event(7, "left", "mo", 2))
    assert (roster.version, list(roster.members), roster.is_behind) == (7, ["ada", "lin"], False)


def test_what_is_known_is_passed_over() -> None:
    roster = Roster("t")
    roster.apply(snapshot(5, "ada", "mo"))
    for known in (
        event(5, "joined", "mo", 2),
        event(3, "left", "ada", 0),
        snapshot(5),
        snapshot(4),
    ):
        assert not roster.apply(known)
    assert list(roster.members) == ["ada", "mo"]


def test_what_comes_early_is_kept() -> None:
    roster = Roster("t")
    assert not roster.apply(event(7, "left", "ada", 2))
    assert not roster.apply(event(6, "joined", "lin", 3))
    assert not roster.apply(event(4, "joined", "no longer there", 3))
    assert roster.is_behind
    assert roster.apply(snapshot(5, "ada", "mo"))
    assert (roster.version, list(roster.members), roster.is_behind) == (7, ["mo", "lin"], False)


def test_an_event_that_tells_all_needs_nothing_before_it() -> None:
    roster = Roster("t")
    assert roster.apply(event(40, "joined", "ada", 1))
    assert not roster.apply(event(43, "left", "mo", 2))
    assert roster.apply(event(50, "left", "ada", 0))
    assert (roster.version, roster.members, roster.is_behind) == (50, {}, False)


def test_an_event_is_not_taken_for_all_when_others_remain() -> None:
    roster = Roster("t")
    assert not roster.apply(event(3, "left", "ada", 1))
    assert roster.is_behind


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EARLY", 3)
    roster = Roster("t")
    for version in range(10, 20):
        assert not roster.apply(event(version, "joined", f"user {version}", version))
    assert not roster.apply(event(12, "joined", "late", 12))
    assert roster.apply(snapshot(16, "ada"))
    assert (list(roster.members), roster.is_behind) == (["ada"], True)  # 17 had to go
    assert roster.apply(snapshot(17, "mo"))
    assert (list(roster.members), roster.is_behind) == (["mo", "user 18", "user 19"], False)


def test_who_leaves_unknown_does_no_harm() -> None:
    roster = Roster("t")
    roster.apply(snapshot(1, "ada"))
    assert roster.apply(event(2, "left", "mo", 1))
    assert list(roster.members) == ["ada"]


def test_members_are_a_copy() -> None:
    roster = Roster("t")
    roster.apply(snapshot(1, "ada"))
    roster.members.clear()
    assert list(roster.members) == ["ada"]


@pytest.mark.parametrize(
    "news",
    [
        PresenceSnapshot("u", 1, ()),
        PresenceEvent("u", 1, "joined", Present("ada", None, 0.0), count=1),
    ],
)
def test_another_topic(news: News) -> None:
    roster = Roster("t")
    with pytest.raises(ValueError, match="is of 't', not of 'u'"):
        roster.apply(news)
    assert roster.version == -1


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.text(), st.text() | st.integers(), anything, st.floats(0, 1e12))
def test_json_is_read_back(topic: str, user: str | int, info: object, since: float) -> None:
    presence: Presence[int] = Presence(lambda: since)
    joined = presence.join(topic, 1, user, info)
    assert joined is not None
    told: list[News] = [joined, presence.snapshot(topic)]
    told += [*presence.leave_all(1), presence.snapshot(topic)]
    for news in told:
        text = news.to_json()
        again = presence_from_json(text)
        assert again == news
        assert again.to_json() == text


def test_the_json_of_an_event() -> None:
    assert event(7, "left", "é", 3).to_json() == (
        '{"presence":"left","topic":"t","version":7,"count":3,"user":"é","info":null,"since":0.0}'
    )


def test_the_json_of_a_snapshot() -> None:
    assert snapshot(7, "ada").to_json() == (
        '{"presence":"snapshot","topic":"t","version":7,'
        '"members":[{"user":"ada","info":null,"since":0.0}]}'
    )


EVENT = json.loads(event(7, "left", "ada", 3).to_json())
SNAPSHOT = json.loads(snapshot(7, "ada").to_json())


def without(fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: fields[name] for name in fields if name != missing} for missing in fields]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[" * 100_000, "9" * 10_000,
        *map(json.dumps, (
            None, 1, "text", [], [EVENT], {}, *without(EVENT), *without(SNAPSHOT),
            *({**EVENT, "presence": kind} for kind in ("", None, 1, [], "came", "snapshot")),
            *({**EVENT, "topic": topic} for topic in (None, 1, [])),
            *({**EVENT, "version": version} for version in (None, -1, "1", 1.0, True)),
            *({**EVENT, "count": count} for count in (None, "1", 1.0, True)),
            *({**EVENT, "user": user} for user in (None, 1.5, True, [], {})),
            *({**EVENT, "since": since} for since in (None, "1", True)),
            *({**SNAPSHOT, "members": members} for members in (None, 1, "ada", ["ada"], [{}])),
        )),
    ],
)  # fmt: skip
def test_other_text(text: str) -> None:
    assert presence_from_json(json.dumps(EVENT)) == event(7, "left", "ada", 3)
    with pytest.raises(ValueError, match=r"is neither event nor snapshot: .+") as caught:
        presence_from_json(text)
    assert len(str(caught.value)) < 250
