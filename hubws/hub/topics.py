"""Which connections are in which topics; both ways, so that leaving costs what it frees."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..connection.connection import Connection


class Topics:
    """Named groups of connections. A topic exists while somebody is in it."""

    __slots__ = ("_joined", "_members")

    def __init__(self) -> None:
        self._members: dict[str, dict[Connection, None]] = {}
        self._joined: dict[Connection, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._members)

    @staticmethod
    def check(topic: object) -> None:
        """TypeError for a topic that is not a str, ValueError for an empty one."""
        if not isinstance(topic, str):
            raise TypeError(f"a topic is a str, not {topic!r}")
        if not topic:
            raise ValueError("a topic's name can't be empty")

    def join(self, connection: Connection, topic: str) -> None:
        """Be in a topic; joining again changes nothing."""
        self._members.setdefault(topic, {})[connection] = None
        self._joined.setdefault(connection, {})[topic] = None

    def leave(self, connection: Connection, topic: str) -> None:
        """Be in a topic no more."""
        members = self._members.get(topic)
        if members is None or connection not in members:
            return
        del members[connection]
        if not members:
            del self._members[topic]
        joined = self._joined[connection]
        del joined[topic]
        if not joined:
            del self._joined[connection]

    def leave_all(self, connection: Connection) -> None:
        """Be in no topic."""
        for topic in list(self._joined.get(connection, ())):
            self.leave(connection, topic)

    def members(self, topic: str) -> Collection[Connection]:
        """Who is in a topic."""
        return self._members.get(topic, {}).keys()

    def names(self, connection: Connection | None = None) -> Collection[str]:
        """All topics, or those of one connection."""
        if connection is None:
            return self._members.keys()
        return self._joined.get(connection, {}).keys()
