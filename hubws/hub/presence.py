"""Who is in a topic: a roster that the server keeps, and clients follow by a snapshot and events.

A user is present while one of their connections is in the topic. The info of a user is what was
given last, by a connection that is still in it: when that one leaves, the one given before it holds
again.

Every event of a topic has a version, one more than the event before it; a snapshot has the version
of the last event it includes. An empty topic is forgotten. When somebody joins it again, its versions
go on above the highest that any forgotten topic had: they may leap, but never go back, and the event
that leaps says by its count of 1 that nobody else is there.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Collection, Hashable
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import attrs

User: TypeAlias = str | int
"""What names a user: it goes to clients as JSON, and there it must stay what it is."""

Kind: TypeAlias = Literal["joined", "updated", "left"]

ConnectionT = TypeVar("ConnectionT", bound=Hashable)


@attrs.frozen
class Present:
    """A user who is in a topic."""

    user: User
    info: Any
    """As JSON has it: tuples have become lists, keys text."""
    since: float
    """When the first of the user's connections joined, by the clock of the presence."""


@attrs.frozen
class PresenceEvent:
    """A user came, went, or has other info."""

    topic: str
    version: int
    """One more than that of the topic's event before it."""
    kind: Kind
    """`joined`, `updated` or `left`."""
    present: Present
    """For `left`: as it was."""
    count: int
    """Users in the topic after it."""

    @property
    def key(self) -> tuple[str, User]:
        """For a `Feed` of policy `latest`: the newest event of each user in each topic."""
        return self.topic, self.present.user

    @property
    def tells_all(self) -> bool:
        """Whether nobody, or nobody but this user, is there after it: what came before matters not."""
        return self.count == (0 if self.kind == "left" else 1)

    def to_json(self) -> str:
        """For clients; `roster.presence_from_json` reads it back."""
        fields = {"presence": self.kind, "topic": self.topic, "version": self.version}
        return _dump({**fields, "count": self.count, **_fields(self.present)})


@attrs.frozen
class PresenceSnapshot:
    """Who is in a topic, in the order in which they came."""

    topic: str
    version: int
    """Of the last event that it includes."""
    members: tuple[Present, ...]

    def to_json(self) -> str:
        """For clients; `roster.presence_from_json` reads it back."""
        fields = {"presence": "snapshot", "topic": self.topic, "version": self.version}
        return _dump({**fields, "members": [_fields(present) for present in self.members]})


def _dump(fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _fields(present: Present) -> dict[str, Any]:
    return {"user": present.user, "info": present.info, "since": present.since}


def check_user(user: object) -> None:
    """TypeError for what can't name a user."""
    if type(user) not in {str, int}:
        raise TypeError(f"a user is named by a str or an int, not {reprlib.repr(user)}")


def check_present(user: object, info: object) -> str:
    """The info as JSON. TypeError or ValueError for it, or for a user's name, that JSON can't hold."""
    check_user(user)
    text = _dump(info)
    f"{user}{text}".encode()  # UnicodeEncodeError, a ValueError, for lone surrogates
    return text


@attrs.define(eq=False)
class _Member(Generic[ConnectionT]):
    present: Present
    text: str
    """Its info as JSON: a copy, and one by which 1, 1.0 and true differ."""
    texts: dict[ConnectionT, str]
    """What each connection gave, the newest last."""


@attrs.define(eq=False)
class _Topic(Generic[ConnectionT]):
    version: int
    members: dict[User, _Member[ConnectionT]] = attrs.Factory(dict)


class Presence(Generic[ConnectionT]):
    """Who is in which topic. Synchronous; each change costs what it changes.

    An event is made only for what clients can see: a user's first connection joins, the last one
    leaves, or the info changes. Give it to those who watch the topic before anything else happens in
    it; and a snapshot, to one who begins to watch.

    Args:
        now: gives `since`; clients see it, so `time.time` is a good choice.

    """

    __slots__ = ("_floor", "_joined", "_now", "_topics")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._topics: dict[str, _Topic[ConnectionT]] = {}
        self._joined: dict[ConnectionT, dict[str, User]] = {}
        self._floor = 0  # no forgotten topic had a higher version

    def __len__(self) -> int:
        return len(self._topics)

    def join(
        self,
        topic: str,
        connection: ConnectionT,
        user: User,
        info: object = None,
        *,
        since: float | None = None,
    ) -> PresenceEvent | None:
        """A user's connection joins, or gives other info; returns what others should be told.

        `info` is copied; `since` is when the user came, by default now. TypeError or ValueError for
        what JSON can't hold, ValueError when the connection is in the topic as another user; then
        nothing has changed.
        """
        text = check_present(user, info)
        topic.encode()
        joined_as = self._joined.get(connection, {}).get(topic, user)
        if joined_as != user:
            raise ValueError(f"the connection is in {topic!r} as {joined_as!r}, not as {user!r}")
        place = self._topics.get(topic)
        if place is None:
            place = self._topics[topic] = _Topic(self._floor)
        self._joined.setdefault(connection, {})[topic] = user
        member = place.members.get(user)
        if member is None:
            present = Present(user, json.loads(text), self._now() if since is None else since)
            place.members[user] = _Member(present, text, {connection: text})
            return self._event(topic, place, "joined", present)
        member.texts.pop(connection, None)
        member.texts[connection] = text
        return self._update(topic, place, member)

    def leave(self, topic: str, connection: ConnectionT) -> PresenceEvent | None:
        """A connection leaves a topic; returns what others should be told, if it was in it."""
        joined = self._joined.get(connection, {})
        if topic not in joined:
            return None
        user = joined.pop(topic)
        if not joined:
            del self._joined[connection]
        place = self._topics[topic]
        member = place.members[user]
        del member.texts[connection]
        if member.texts:
            return self._update(topic, place, member)
        del place.members[user]
        event = self._event(topic, place, "left", member.present)
        if not place.members:
            del self._topics[topic]
            self._floor = max(self._floor, place.version)
        return event

    def leave_all(self, connection: ConnectionT) -> list[PresenceEvent]:
        """A connection leaves all its topics, as it does when it ends."""
        events = [self.leave(topic, connection) for topic in list(self._joined.get(connection, ()))]
        return [event for event in events if event is not None]

    def _update(
        self, topic: str, place: _Topic[ConnectionT], member: _Member[ConnectionT]
    ) -> PresenceEvent | None:
        text = next(reversed(member.texts.values()))
        if text == member.text:
            return None
        member.text = text
        member.present = attrs.evolve(member.present, info=json.loads(text))
        return self._event(topic, place, "updated", member.present)

    @staticmethod
    def _event(
        topic: str, place: _Topic[ConnectionT], kind: Kind, present: Present
    ) -> PresenceEvent:
        place.version += 1
        return PresenceEvent(topic, place.version, kind, present, len(place.members))

    def snapshot(self, topic: str) -> PresenceSnapshot:
        """Who is in a topic now."""
        place = self._topics.get(topic)
        if place is None:
            return PresenceSnapshot(topic, self._floor, ())
        members = tuple(member.present for member in place.members.values())
        return PresenceSnapshot(topic, place.version, members)

    def given(self, topic: str, connection: ConnectionT) -> Present:
        """The user of a connection that is in a topic, with the info that this connection gave."""
        member = self._topics[topic].members[self._joined[connection][topic]]
        return attrs.evolve(member.present, info=json.loads(member.texts[connection]))

    def count(self, topic: str) -> int:
        """How many users are in a topic."""
        place = self._topics.get(topic)
        return 0 if place is None else len(place.members)

    def connections(self, topic: str, user: User) -> Collection[ConnectionT]:
        """Those of a user that are in a topic, the one whose info holds last; a live view."""
        place = self._topics.get(topic)
        member = None if place is None else place.members.get(user)
        return () if member is None else member.texts.keys()
