"""Presence over several hubs: each tells the others of its own connections, and keeps those of all.

Between hubs go, in JSON,

    {"join": [topic, number, user, info, since]}    a connection has come, or has other info
    {"leave": [topic, number]}                      it has gone
    {"all": [topic, [[number, user, info, since], ...]]}    all that this hub has in a topic
    {"who": [topics], "empty": false}               tell me of those where you have somebody
    {"who": [topics], "empty": true}                tell me of them all; in others I have nobody

The first two go to who follows the topic; a hub that begins to follow one asks who is there. After the
link was away every hub asks and tells anew. What nobody repeats can't linger: a list takes the place of
what was known of that hub, and a hub that is gone takes all of its own along.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, NamedTuple, TypeAlias

from .news import HUB, HUBS, PRESENCE, dump
from .presence import Presence, PresenceEvent

Tell: TypeAlias = Callable[[list[PresenceEvent], str], None]


class Remote(NamedTuple):
    """A connection of another hub."""

    hub: str
    number: int


class RemotePresence:
    """What one hub tells of its connections, and knows of those of others.

    Args:
        presence: of both.
        local: this hub's own connections in a topic, each with its number.
        send: to a channel.
        tell: called with what members of a topic should be told, all that happened at once, and the
            topic.

    """

    def __init__(
        self,
        presence: Presence[Hashable],
        local: Callable[[str], Iterable[tuple[int, Hashable]]],
        send: Callable[[str, bytes], None],
        tell: Tell,
    ) -> None:
        self._presence = presence
        self._local = local
        self._send = send
        self._tell = tell
        self._followed: set[str] = set()
        self._remotes: dict[str, dict[str, set[Remote]]] = {}  # by hub and topic

    # -- of this hub ---------------------------------------------------------------------------

    def follow(self, topic: str) -> None:
        """There are members in a topic: keep what others tell of it."""
        self._followed.add(topic)

    def unfollow(self, topic: str) -> None:
        """There are none any more: forget what others told."""
        self._followed.discard(topic)
        for topics in self._remotes.values():
            for remote in topics.pop(topic, ()):
                self._presence.leave(topic, remote)

    def joined(self, topic: str, connection: Hashable, number: int) -> None:
        """A connection of this hub has come, or has other info."""
        self._send(
            PRESENCE + topic, dump({"join": [topic, *self._entry(topic, connection, number)]})
        )

    def left(self, topic: str, number: int) -> None:
        """A connection of this hub has gone."""
        self._send(PRESENCE + topic, dump({"leave": [topic, number]}))

    def ask(self, topic: str) -> None:
        """Have the others tell who is in a topic."""
        if topic in self._followed:
            self._send(HUBS, dump({"who": [topic], "empty": False}))

    def ask_anew(self) -> None:
        """After the link was away: tell all, and have all told."""
        topics = sorted(self._followed)
        for topic in topics:
            self._send(PRESENCE + topic, self._all(topic))
        self._send(HUBS, dump({"who": topics, "empty": True}))

    def _entry(self, topic: str, connection: Hashable, number: int) -> list[Any]:
        present = self._presence.given(topic, connection)
        return [number, present.user, present.info, present.since]

    def _all(self, topic: str) -> bytes:
        entries = [self._entry(topic, one, number) for number, one in self._local(topic)]
        return dump({"all": [topic, entries]})

    # -- of others -----------------------------------------------------------------------------

    def take(self, origin: str, body: bytes) -> None:
        """What another hub tells or asks; ValueError, TypeError or KeyError for what is neither."""
        match json.loads(body):
            case {"join": [str(topic), int(), _, _, _] as entry}:
                if topic in self._followed:
                    self._change(topic, origin, [], [entry[1:]])
            case {"leave": [str(topic), int(number)]}:
                self._change(topic, origin, [number], [])
            case {"all": [str(topic), list(entries)]}:
                if topic in self._followed:
                    self._replace(topic, origin, entries)
            case {"who": list(topics), "empty": bool(empty)}:
                if empty:  # these are all in which it has anybody
                    for topic in self._remotes.get(origin, {}).keys() - set(topics):
                        self._replace(topic, origin, [])
                for topic in topics:
                    if empty or topic in self._followed:
                        self._send(HUB + origin, self._all(topic))
            case other:
                raise ValueError(f"hub {origin} said {other!r}")

    def _change(self, topic: str, origin: str, left: Iterable[int], joined: list[Any]) -> None:
        """Some connections of another hub leave a topic, then others join it or have other info."""
        known = self._remotes.get(origin, {}).get(topic, set())
        events = []
        for number in left:
            known.discard(Remote(origin, number))
            events.append(self._presence.leave(topic, Remote(origin, number)))
        try:
            for number, user, info, since in joined:
                remote = Remote(origin, number)
                events.append(self._presence.join(topic, remote, user, info, since=since))
                known = self._remotes.setdefault(origin, {}).setdefault(topic, known)
                known.add(remote)
        finally:
            self._tell([event for event in events if event is not None], topic)

    def _replace(self, topic: str, origin: str, entries: list[Any]) -> None:
        there = {number for number, *_ in entries}
        known = self._remotes.get(origin, {}).get(topic, set())
        left = [remote.number for remote in known if remote.number not in there]
        self._change(topic, origin, left, entries)

    def gone(self, origin: str) -> None:
        """Another hub is no more, nor are its connections; if it is all the same, let it tell anew."""
        topics = list(self._remotes.get(origin, {}))
        for topic in topics:
            self._replace(topic, origin, [])
        self._remotes.pop(origin, None)
        if topics:
            self._send(HUB + origin, dump({"who": topics, "empty": False}))

    def origins(self) -> Collection[str]:
        """The hubs of which connections are known."""
        return self._remotes.keys()
