"""What can be set for a connection; `serve` and `connect` take each as a keyword argument."""

from __future__ import annotations

import math
import sys
from typing import Any, TypedDict

import attrs

from ..protocol.deflate import Deflate
from .queue import Policy
from .rate_limit import RateLimit


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be over 0, not {value!r}")


def _count(_: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if type(value) is not int or not 0 < value <= sys.maxsize:
        raise ValueError(
            f"{attribute.name} must be a whole number from 1 to {sys.maxsize}, not {value!r}"
        )


def _policy(value: str) -> Policy:
    try:
        return Policy(value)
    except ValueError:
        names = ", ".join(policy.value for policy in Policy)
        raise ValueError(f"{value!r} is not a policy; it must be one of {names}") from None


def _compression(value: Deflate | bool | None) -> Deflate | None:  # noqa: FBT001 - what the setting may be
    if value is True:
        return Deflate()
    if value is False or value is None:
        return None
    if not isinstance(value, Deflate):
        raise TypeError(f"compression must be a Deflate, True or False, not {value!r}")
    return value


def _rate_limit(_: object, attribute: attrs.Attribute[Any], value: RateLimit | None) -> None:
    if value is not None and not isinstance(value, RateLimit):
        raise TypeError(f"{attribute.name} must be a RateLimit or None, not {value!r}")


def _seconds(value: float | None) -> float:
    return math.inf if value is None else value


@attrs.frozen(kw_only=True)
class Settings:
    """Limits, times and policies of one connection. Times are in seconds; None means never."""

    max_message_size: int = attrs.field(default=1024 * 1024, validator=_count)
    """Of a whole message received, in bytes; a larger one closes with 1009."""
    max_stream_size: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_count)
    )
    """Of a message that `receive_stream` takes in pieces as they arrive, in bytes; at least
    `max_message_size`. None: every message is held until it is whole."""
    inbox_messages: int = attrs.field(default=1024, validator=_count)
    """How many messages wait at most."""
    inbox_bytes: int = attrs.field(default=1024 * 1024, validator=_count)
    """Beyond either, the socket is not read until the application has taken what there is."""
    outbox_messages: int = attrs.field(default=1024, validator=_count)
    """How many messages wait at most."""
    outbox_bytes: int = attrs.field(default=1024 * 1024, validator=_count)
    """Beyond either, `policy` applies."""
    policy: Policy = attrs.field(default=Policy.BLOCK, converter=_policy)
    """What `send` and `send_nowait` do when the outbox is full."""
    compression: Deflate | None = attrs.field(default=None, converter=_compression)
    """permessage-deflate, when the peer wants it too; True for its defaults."""
    keepalive_interval: float = attrs.field(default=20, converter=_seconds, validator=_positive)
    """Between a pong and the next ping."""
    keepalive_timeout: float = attrs.field(default=20, converter=_seconds, validator=_positive)
    """For the pong; the connection is closed with 1011 after it."""
    write_timeout: float = attrs.field(default=20, converter=_seconds, validator=_positive)
    """For the peer to take at least something of what is being sent; ended after it."""
    close_timeout: float = attrs.field(default=5, converter=_seconds, validator=_positive)
    """For the closing handshake; ended without it after that."""
    rate_limit: RateLimit | None = attrs.field(default=None, validator=_rate_limit)
    """What the peer may send in a second."""
    idle_timeout: float = attrs.field(default=None, converter=_seconds, validator=_positive)
    """Without a message from the peer; closed with 1001 within a quarter more. Pings don't count."""
    max_lifetime: float = attrs.field(default=None, converter=_seconds, validator=_positive)
    """From the opening handshake; closed with 1001 then."""

    has_limits: bool = attrs.field(init=False, eq=False, repr=False)
    """Whether a connection needs a limiter."""

    @has_limits.default
    def _limits_anything(self) -> bool:
        return (
            self.rate_limit is not None
            or self.idle_timeout < math.inf
            or self.max_lifetime < math.inf
        )

    def __attrs_post_init__(self) -> None:
        if self.max_stream_size is not None and self.max_stream_size < self.max_message_size:
            raise ValueError(
                f"max_stream_size {self.max_stream_size} must not be under max_message_size "
                f"{self.max_message_size}"
            )


class SettingsArguments(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments."""

    max_message_size: int
    max_stream_size: int | None
    inbox_messages: int
    inbox_bytes: int
    outbox_messages: int
    outbox_bytes: int
    policy: Policy | str
    compression: Deflate | bool | None
    keepalive_interval: float | None
    keepalive_timeout: float | None
    write_timeout: float | None
    close_timeout: float | None
    rate_limit: RateLimit | None
    idle_timeout: float | None
    max_lifetime: float | None
