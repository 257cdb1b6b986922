"""Backends of a proxy: which are there, which one is next, which are left alone for a while."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Collection, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import attrs
import trio

from ..client.tls import TLS
from ..errors import UpgradeRefused
from ..protocol.address import Address
from ..server.admission import unavailable

RETRY = 1.0
"""How long a backend is left alone after it failed for the first time, in seconds."""

MAX_RETRY = 60.0
"""The longest it is left alone, in seconds; the time doubles with each failure."""

JITTER = 0.25
"""By which part of itself that time differs at random."""


def _weight(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} must be over 0 and finite, not {value!r}")


def _connections(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"{attribute.name} must be a whole number from 1 on, not {value!r}")


class Balance(StrEnum):
    """How one of a route's backends is chosen. Weights count in all of them."""

    ROUND_ROBIN = "round_robin"
    """In turns."""
    LEAST_CONNECTIONS = "least_connections"
    """The one with the fewest open connections for its weight."""
    HASH = "hash"
    """The same one for the same key, as long as it is healthy: by default the client's address."""


@attrs.frozen
class Backend:
    """A WebSocket server behind a proxy."""

    url: str
    """ws://host:port or wss://host:port. LocalProtocolError when it is no WebSocket URL."""
    weight: float = attrs.field(default=1, kw_only=True, validator=_weight)
    """How much it gets in comparison with the others: a share of all weights together."""
    max_connections: int | None = attrs.field(default=None, kw_only=True, validator=_connections)
    """At this number of connections it gets no more."""
    unix_path: str | os.PathLike[str] | None = attrs.field(default=None, kw_only=True)
    """Dial this Unix socket instead of the URL's host."""
    tls: TLS = attrs.field(factory=TLS, kw_only=True)
    """For wss."""
    address: Address = attrs.field(init=False, repr=False, eq=False)
    """The URL's parts."""

    @address.default
    def _read_url(self) -> Address:
        address = Address.from_url(self.url)
        if address.target != "/":
            raise ValueError(
                f"a backend's URL has no path, {address.target!r}; use rewrite= of its Route"
            )
        if address.authorization is not None:
            raise ValueError("a backend's URL has no user; use edit_request= of its Route")
        return address


@attrs.frozen
class BackendStatistics:
    """Figures of one backend at one moment."""

    url: str
    is_healthy: bool
    """Whether it gets connections now, as far as its health is concerned."""
    connections: int
    """Open ones, and those that are being opened."""
    accepted: int
    """Connections opened to it since the proxy started."""
    failures: int
    """Attempts that brought no HTTP answer since the proxy started; checks are not counted."""


class Upstream:
    """One backend at work.

    Attributes:
        connections: those that are open, or being opened.
        is_up: what the active health check says; True without one.

    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.connections = 0
        self.accepted = 0
        self.failures = 0
        self.is_up = True
        self.credit = 0.0  # of the smooth weighted round robin
        self._failed_in_a_row = 0
        self._back_at = -math.inf

    @property
    def is_healthy(self) -> bool:
        """Whether it may be tried."""
        return self.is_up and trio.current_time() >= self._back_at

    @property
    def has_room(self) -> bool:
        """Whether it may get one more connection."""
        limit = self.backend.max_connections
        return limit is None or self.connections < limit

    def unreachable(self) -> None:
        """It could not be dialled: leave it alone for a while, longer each time (passive check).

        A dialled backend that fails to answer is not: it may be the request's fault, and then one
        client could take the backend from all others.
        """
        self._failed_in_a_row += 1
        self._back_at = trio.current_time() + backoff(self._failed_in_a_row)

    def answered(self) -> None:
        """It is there."""
        self._failed_in_a_row = 0
        self._back_at = -math.inf

    def released(self, _: object = None) -> None:
        """A connection to it has ended, or did not come to be."""
        self.connections -= 1

    def score(self, key: bytes) -> float:
        """How much it wants a key: the highest score gets it (weighted rendezvous hashing).

        When a backend goes, only its own keys move, and they come back with it.
        """
        digest = blake2b(key, key=self.backend.url.encode()[:64], digest_size=8).digest()
        chance = (int.from_bytes(digest) + 0.5) / 2**64
        return -self.backend.weight / math.log(chance)

    def statistics(self) -> BackendStatistics:
        """Figures at this moment."""
        return BackendStatistics(
            self.backend.url, self.is_healthy, self.connections, self.accepted, self.failures
        )


def backoff(failures: int) -> float:
    """How long to leave a backend alone after so many failures in a row, in seconds."""
    return jittered(min(RETRY * 2.0 ** min(failures - 1, 30), MAX_RETRY))


def jittered(seconds: float) -> float:
    """About that long, so that not everybody comes at once."""
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret


class Pool:
    """The backends of one route."""

    def __init__(self, backends: Sequence[Backend], balance: Balance) -> None:
        self.upstreams = [Upstream(backend) for backend in backends]
        self._balance = balance

    def choose(self, key: bytes, tried: Collection[Upstream] = ()) -> Upstream | None:
        """The backend for a new connection, None when those that are left are not healthy or full."""
        able = [
            one for one in self.upstreams if one not in tried and one.is_healthy and one.has_room
        ]
        if not able:
            return None
        if self._balance is Balance.HASH:
            return max(able, key=lambda one: one.score(key))
        if self._balance is Balance.LEAST_CONNECTIONS:
            load = min(one.connections / one.backend.weight for one in able)
            able = [one for one in able if one.connections / one.backend.weight == load]
        return _next_in_turn(able)

    def refusal(self) -> UpgradeRefused:
        """The 503 when `choose` found none at once."""
        is_full = any(one.is_healthy for one in self.upstreams)
        why = "every backend is full" if is_full else "no backend is healthy"
        return UpgradeRefused(unavailable(why, RETRY))


def _next_in_turn(able: Sequence[Upstream]) -> Upstream:
    """Smooth weighted round robin: 3 and 1 make A A B A, not A A A B."""
    for one in able:
        one.credit += one.backend.weight
    chosen = max(able, key=lambda one: one.credit)
    chosen.credit -= sum(one.backend.weight for one in able)
    return chosen
