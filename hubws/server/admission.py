"""Who may connect: limits of connections in total, for each address and for each user."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import attrs

from ..connection.connection import Connection
from ..errors import UpgradeRefused
from ..protocol.http import Response
from ..transport.abc import SocketAddress

if TYPE_CHECKING:
    from .offer import Tunnel

RETRY_AFTER = 5.0
"""What those beyond a limit are told to wait when nothing else is said, in seconds."""


def _limit(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    least = 1 if attribute.name == "max_handshakes" else 0
    if value is not None and (type(value) is not int or value < least):
        raise ValueError(
            f"{attribute.name} must be a whole number from {least} on, or None, not {value!r}"
        )


def check_retry_after(value: float | None) -> None:
    """ValueError for what is no number of seconds to wait."""
    if value is not None and not 0 <= value < math.inf:
        raise ValueError(f"retry_after must be 0 or more and finite, in seconds, not {value!r}")


@attrs.frozen(kw_only=True)
class AdmissionLimits:
    """How many may be connected; None for any number."""

    max_connections: int | None = attrs.field(default=None, validator=_limit)
    max_connections_per_address: int | None = attrs.field(default=None, validator=_limit)
    max_connections_per_user: int | None = attrs.field(default=None, validator=_limit)
    max_handshakes: int | None = attrs.field(default=None, validator=_limit)
    retry_after: float | None = None

    def __attrs_post_init__(self) -> None:
        check_retry_after(self.retry_after)


def address_key(remote: SocketAddress) -> bytes | None:
    """What stands for a client's address: an IPv4 address, or the /64 of an IPv6 one.

    Whoever has an IPv6 address usually has all of its /64. None for what has no IP address.
    """
    if not isinstance(remote, tuple):
        return None
    address = ip_address(remote[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return address.packed[:8]
        address = address.ipv4_mapped
    return address.packed


class Admission:
    """Counts the connections of one server and refuses those beyond its limits.

    Attributes:
        refused: how many were.

    """

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._total = 0
        self._by_address: Counter[bytes] = Counter()
        self._by_user: Counter[Hashable] = Counter()
        self.refused = 0

    def check(self, remote: SocketAddress, user: Any = None) -> None:
        """Refuse, with 503, one connection more from that address or of that user, if it's too many.

        TypeError for a user that can't be counted because it has no hash.
        """
        limits = self._limits
        if limits.max_connections is not None and self._total >= limits.max_connections:
            raise self._refusal("too many connections")
        limit = limits.max_connections_per_address
        if limit is not None:
            key = address_key(remote)
            if key is not None and self._by_address[key] >= limit:
                raise self._refusal("too many connections from this address")
        limit = limits.max_connections_per_user
        if limit is not None and user is not None and self._by_user[user] >= limit:
            raise self._refusal("too many connections of this user")

    def _refusal(self, why: str) -> UpgradeRefused:
        self.refused += 1
        seconds = self._limits.retry_after
        return UpgradeRefused(unavailable(why, RETRY_AFTER if seconds is None else seconds))

    def enter(self, connection: Connection | Tunnel) -> None:
        """Count a connection."""
        self._change(connection, 1)

    def leave(self, connection: Connection | Tunnel) -> None:
        """Count it no more."""
        self._change(connection, -1)

    def _change(self, connection: Connection | Tunnel, by: int) -> None:
        self._total += by
        if self._limits.max_connections_per_address is not None:
            key = address_key(connection.remote)
            if key is not None:
                _add(self._by_address, key, by)
        if self._limits.max_connections_per_user is not None and connection.user is not None:
            _add(self._by_user, connection.user, by)


def _add(counter: Counter[Any], key: Hashable, by: int) -> None:
    counter[key] += by
    if counter[key] <= 0:
        del counter[key]


def unavailable(why: str, retry_after: float) -> Response:
    """A 503 that says when to try again, in whole seconds (RFC 9110 §10.2.3)."""
    return Response.refusal(503, why, [("Retry-After", str(max(1, math.ceil(retry_after))))])
