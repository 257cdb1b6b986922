"""An opening handshake for somebody else to answer, and what may take the stream over: a proxy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs

from ..connection.connection import Connection
from ..protocol.deflate import DeflateParameters
from ..protocol.http import Headers, Request
from ..protocol.state import Closure
from ..transport.abc import SocketAddress, Transport

if TYPE_CHECKING:
    from .accept import Incoming

Forward: TypeAlias = "Callable[[Offer], Awaitable[None]]"
"""Answers a proper opening handshake in its own way: by `Offer.open`, `Offer.hand_over`, or by raising
UpgradeRefused. It is cancelled when the client goes away, and when the server drains."""


class Tunnel(Protocol):
    """What may take over a client's stream instead of a connection, as far as the server knows it."""

    remote: SocketAddress
    request: Request | None
    user: Any

    @property
    def closure(self) -> Closure | None:
        """How it ended, None when it does not know."""

    def begin(self, rest: bytes) -> None:
        """Begin; `rest` is what came behind the request."""

    def close_nowait(self, code: int | None, reason: str) -> None:
        """Begin to end: the server drains."""

    def abort(self) -> None:
        """End at once."""

    def add_end_callback(self, callback: Callable[[Any], object]) -> None:
        """Call a function once it has ended."""


@attrs.frozen
class Offer:
    """A client's opening handshake, proper and let in, for `Service.forward` to answer."""

    _incoming: Incoming
    request: Request
    headers: Headers
    """The request's."""
    key: str
    """Its Sec-WebSocket-Key."""
    user: Any
    remote: SocketAddress

    @property
    def is_open(self) -> bool:
        """Whether it can still be answered: the client is there, and nobody has answered."""
        return self._incoming.is_waiting

    def check(self) -> None:
        """Raise UpgradeRefused if there are too many connections by now."""
        self._incoming.check(self.user)

    def open(
        self, subprotocol: str | None, compression: DeflateParameters | None, headers: bytes
    ) -> Connection:
        """Answer with 101 and more header lines; the connection is the server's own. While open."""
        return self._incoming.open(self, subprotocol, compression, headers)

    def acceptance(self, subprotocol: str | None, headers: bytes) -> bytes:
        """The 101 for it, with more header lines; for who takes the client's stream over."""
        return self._incoming.acceptance(self.key, subprotocol, headers)

    def hand_over(self, make: Callable[[Transport], Tunnel]) -> None:
        """Give the client's stream to what `make` makes of it, which sends the 101. While open."""
        self._incoming.hand_over(make)
