"""What an application says of topics: by name, or by a pattern for many."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import attrs

from ..connection.queue import Policy
from .envelope import wrap
from .history import Message, Position, Retention
from .topics import check_topic, patterns_for

KeyFunction: TypeAlias = Callable[[str | bytes], Hashable]
"""Says what a message is about; of messages with the same key `latest` keeps the newest."""

WrapFunction: TypeAlias = Callable[[Message, str, Position], Message]
"""Puts a message, its topic and its position into one message for clients."""


def check_policy(policy: Policy | str) -> Policy:
    """A policy for messages that go to many; ValueError for another."""
    try:
        chosen = Policy(policy)
    except ValueError:
        names = ", ".join(one.value for one in Policy if one is not Policy.BLOCK)
        raise ValueError(f"{policy!r} is not a policy for broadcasts; use one of {names}") from None
    if chosen is Policy.BLOCK:
        raise ValueError("a broadcast never waits, so its policy can't be 'block'")
    return chosen


def _policy(policy: Policy | str | None) -> Policy | None:
    return None if policy is None else check_policy(policy)


def _function(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"{attribute.name} is a function, not {value!r}")


@attrs.frozen(kw_only=True)
class TopicSettings:
    """What holds for one topic, or for all of one pattern; None: as the hub has it."""

    policy: Policy | None = attrs.field(default=None, converter=_policy)
    key: KeyFunction | None = attrs.field(default=None, validator=_function)
    history: Retention | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.instance_of(Retention))
    )
    wrap: WrapFunction = attrs.field(default=wrap, validator=_function)
    presence: bool = False


NO_SETTINGS = TopicSettings()


class SettingsByTopic:
    """The narrowest applies: a topic's own, then the longest pattern's."""

    __slots__ = ("_settings",)

    def __init__(self) -> None:
        self._settings: dict[str, TopicSettings] = {}

    def __bool__(self) -> bool:
        return bool(self._settings)

    def __setitem__(self, topic: str, settings: TopicSettings) -> None:
        check_topic(topic)
        self._settings[topic] = settings

    def __getitem__(self, topic: str) -> TopicSettings:
        """What was said of a topic."""
        settings = self._settings
        if topic in settings:
            return settings[topic]
        if settings:
            for pattern in patterns_for(topic):
                if pattern in settings:
                    return settings[pattern]
        return NO_SETTINGS
