"""Who is told what becomes of a server's clients: metrics, an access log, an application's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..protocol.http import Request
from ..transport.abc import SocketAddress

if TYPE_CHECKING:
    from ..connection.connection import Connection
    from .offer import Tunnel
    from .server import Server

logger = logging.getLogger("hubws")


class Observer:
    """To inherit from, for `serve(..., observers=[...])`.

    Its functions are called at once, by the server, so they must be quick; there is one call for each
    event of a client, and none for its messages. What they raise is logged, and changes nothing.
    """

    def on_started(self, server: Server) -> None:
        """A server has begun to listen."""

    def on_stopped(self, server: Server) -> None:
        """It has ended, and so have its connections."""

    def on_opened(self, connection: Connection | Tunnel) -> None:
        """A connection was opened: its 101 is queued, and nothing of it was read yet."""

    def on_ended(self, connection: Connection | Tunnel) -> None:
        """It has ended; its `closure` says how."""

    def on_response(self, request: Request | None, remote: SocketAddress, status: int) -> None:
        """A client got another answer than 101: a refusal, or what a plain request asked for.

        `request` is None when its request could not be read.
        """

    def on_lost(self, remote: SocketAddress, why: str) -> None:
        """A client went, or was cut off, before there was an answer."""


class Observers:
    """All observers of a server, told one after the other."""

    __slots__ = ("_each", "_functions")

    def __init__(self, each: Sequence[Observer]) -> None:
        self._each = tuple(each)
        self._functions: dict[object, list[Callable[..., None]]] = {}

    def __bool__(self) -> bool:
        return bool(self._each)

    def tell(self, function: Callable[..., None], *args: Any) -> None:
        """Call that function of `Observer`, as each of them has it."""
        functions = self._functions.get(function)
        if functions is None:
            functions = [getattr(one, function.__name__) for one in self._each]
            self._functions[function] = functions
        for one in functions:
            try:
                one(*args)
            except Exception:
                logger.exception("%r failed", one)


def check_observers(observers: Sequence[Observer]) -> None:
    """TypeError unless they are `Observer`s."""
    for one in observers:
        if not isinstance(one, Observer):
            raise TypeError(f"observers are instances of hubws.Observer, not {one!r}")
