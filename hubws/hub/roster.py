"""Presence as a client follows it: a roster, made of a snapshot and events."""

from __future__ import annotations

import json
import reprlib
from typing import Any

from .presence import PresenceEvent, PresenceSnapshot, Present, User, check_user

MAX_EARLY = 1024
"""The most events that a roster keeps while it waits for the one before them."""


def presence_from_json(text: str) -> PresenceEvent | PresenceSnapshot:
    """Read what `to_json` of an event or a snapshot gave; ValueError for anything else."""
    try:
        return _read(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        what = reprlib.repr(text)
        raise ValueError(f"{what} is neither event nor snapshot: {error!r}") from None


def _read(fields: dict[str, Any]) -> PresenceEvent | PresenceSnapshot:
    topic, version, kind = fields["topic"], fields["version"], fields["presence"]
    if not isinstance(topic, str) or type(version) is not int or version < 0:
        raise ValueError("its topic must be a string and its version a whole number")
    if kind == "snapshot":
        members = tuple(_present(member) for member in fields["members"])
        return PresenceSnapshot(topic, version, members)
    if kind not in {"joined", "updated", "left"} or type(fields["count"]) is not int:
        raise ValueError("it must be snapshot, joined, updated or left, the last three counted")
    return PresenceEvent(topic, version, kind, _present(fields), fields["count"])


def _present(fields: dict[str, Any]) -> Present:
    user, since = fields["user"], fields["since"]
    check_user(user)
    if type(since) not in {int, float}:
        raise ValueError(f"since must be a number of seconds, not {since!r}")
    return Present(user, fields["info"], since)


class Roster:
    """Who is in one topic, as told by snapshots and events that come in whatever order.

    What `members` says was true at `version`. What is known already is passed over; events that come
    too early are kept until those before them, or a snapshot, have come. Make a new roster after
    reconnecting: another process counts anew.
    """

    __slots__ = ("_early", "_members", "topic", "version")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.version = -1
        """Of the last event or snapshot that took effect; -1 before the first."""
        self._members: dict[User, Present] = {}
        self._early: dict[int, PresenceEvent] = {}

    @property
    def members(self) -> dict[User, Present]:
        """By user, in the order in which they came."""
        return dict(self._members)

    @property
    def is_behind(self) -> bool:
        """Whether it waits for a snapshot or an event; if that lasts, ask for a new snapshot."""
        return self.version < 0 or bool(self._early)

    def apply(self, news: PresenceEvent | PresenceSnapshot) -> bool:
        """Take an event or a snapshot; returns whether `members` is of a newer version now.

        ValueError when it is about another topic.
        """
        if news.topic != self.topic:
            raise ValueError(f"this roster is of {self.topic!r}, not of {news.topic!r}")
        version = self.version
        if news.version <= version:
            return False
        if isinstance(news, PresenceSnapshot):
            self._begin(news.version, *news.members)
        elif news.tells_all:
            self._begin(news.version, *(() if news.kind == "left" else (news.present,)))
        else:
            self._early[news.version] = news
            if len(self._early) > MAX_EARLY:
                del self._early[next(iter(self._early))]
        while (event := self._early.pop(self.version + 1, None)) is not None:
            self.version = event.version
            if event.kind == "left":
                self._members.pop(event.present.user, None)
            else:
                self._members[event.present.user] = event.present
        return self.version != version

    def _begin(self, version: int, *members: Present) -> None:
        self.version = version
        self._members = {present.user: present for present in members}
        if self._early:
            early = self._early.items()
            self._early = {number: event for number, event in early if number > version}
