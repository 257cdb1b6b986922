"""Which connections are in which topics; both ways, so that leaving costs what it frees.

A name that ends with `.*` stands for all topics that begin with what is before the asterisk:
whoever is in `prices.*` gets what is sent to `prices.EUR` and to `prices.EUR.spot`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from sys import intern
from typing import TYPE_CHECKING

from ..protocol.frames import surrogate_error

if TYPE_CHECKING:
    from ..connection.connection import Connection

WILDCARD = ".*"


def check_topic(topic: object, *, may_be_pattern: bool = True) -> None:
    """TypeError for a topic that is not a str, ValueError for an empty one, or for a pattern.

    Likewise for lone surrogates, which clients can write in JSON and a backplane can't send on.
    """
    if type(topic) is not str:
        raise TypeError(f"a topic is a str, not {topic!r}")
    if not topic:
        raise ValueError("a topic's name can't be empty")
    if not topic.isascii():
        try:
            topic.encode()
        except UnicodeEncodeError as error:
            raise surrogate_error(error, "a topic's name") from None
    if not may_be_pattern and topic.endswith(WILDCARD):
        raise ValueError(f"{topic!r} stands for many topics; messages go to one by its full name")


def patterns_for(topic: str) -> Iterator[str]:
    """The patterns that a topic falls under, the narrowest first."""
    end = topic.rfind(".")
    while end >= 0:
        yield topic[:end] + WILDCARD
        end = topic.rfind(".", 0, end)


class Topics:
    """Named groups of connections. A topic exists while somebody is in it."""

    __slots__ = ("_joined", "_members", "_patterns")

    def __init__(self) -> None:
        self._members: dict[str, dict[Connection, None]] = {}
        self._joined: dict[Connection, dict[str, None]] = {}
        self._patterns = 0  # how many of the names are patterns

    def __len__(self) -> int:
        return len(self._members)

    def join(self, connection: Connection, topic: str) -> bool:
        """Be in a topic; False when it changes nothing."""
        members = self._members.get(topic)
        topic = intern(topic)  # if each had its own, the name would be half of what this takes
        if members is None:
            members = self._members[topic] = {}
            self._patterns += topic.endswith(WILDCARD)
        elif connection in members:
            return False
        members[connection] = None
        self._joined.setdefault(connection, {})[topic] = None
        return True

    def leave(self, connection: Connection, topic: str) -> bool:
        """Be in a topic no more; False when it changes nothing."""
        members = self._members.get(topic)
        if members is None or connection not in members:
            return False
        del members[connection]
        if not members:
            del self._members[topic]
            self._patterns -= topic.endswith(WILDCARD)
        joined = self._joined[connection]
        del joined[topic]
        if not joined:
            del self._joined[connection]
        return True

    def members(self, topic: str) -> Collection[Connection]:
        """Who is in a topic by that very name."""
        return self._members.get(topic, {}).keys()

    def recipients(self, topic: str) -> Collection[Connection]:
        """Who gets what is sent to a topic, each once: its members and those of its patterns."""
        exact = self._members.get(topic, {})
        if not self._patterns:
            return exact.keys()
        groups = [group for name in patterns_for(topic) if (group := self._members.get(name))]
        if not groups:
            return exact.keys()
        everyone = dict(exact)
        for group in groups:
            everyone.update(group)
        return everyone.keys()

    def names(self, connection: Connection | None = None) -> Collection[str]:
        """All topics, or those of one connection."""
        if connection is None:
            return self._members.keys()
        return self._joined.get(connection, {}).keys()
