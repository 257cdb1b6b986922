"""How a broadcast travels from hub to hub: a line of JSON that says for whom, then the message.

The channel says the rest:

    hubs            to all hubs: what goes to all members, to a user, or to several topics
    hub:NAME        to one hub
    topic:NAME      to the hubs that have members in a topic
    presence:NAME   to the same, who has come and gone, where presence is on
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

import attrs

from ..connection.queue import Policy
from .history import Message

HUBS = "hubs"
HUB = "hub:"
TOPIC = "topic:"
PRESENCE = "presence:"


@attrs.frozen(kw_only=True)
class News:
    """A message for members of other hubs; what is None is left to them."""

    message: Message
    topics: list[str] | None = None
    """Several topics; a single one is in the channel's name."""
    user: Hashable = None
    policy: Policy | None = None
    key: Hashable = None

    def __attrs_post_init__(self) -> None:
        for name, value in (("user", self.user), ("key", self.key)):
            if value is not None and type(value) not in {str, int}:
                raise TypeError(f"for other hubs a {name} must be str or int, not {value!r}")

    def encode(self) -> bytes:
        """For the backplane; `decode` reads it back."""
        is_text = isinstance(self.message, str)
        fields = {
            "topics": self.topics, "user": self.user, "policy": self.policy, "key": self.key
        }  # fmt: skip
        said = {name: value for name, value in fields.items() if value is not None}
        message = self.message.encode() if isinstance(self.message, str) else self.message
        return dump({"text": is_text, **said}) + b"\n" + message

    @classmethod
    def decode(cls, body: bytes) -> News:
        """ValueError, TypeError or KeyError for what `encode` did not make."""
        head, _, payload = body.partition(b"\n")
        fields: dict[str, Any] = json.loads(head)
        is_text = fields.pop("text")
        policy = fields.pop("policy", None)
        return cls(
            message=payload.decode() if is_text else payload,
            policy=None if policy is None else Policy(policy),
            **fields,
        )


def dump(fields: Any) -> bytes:
    """JSON in one line."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
