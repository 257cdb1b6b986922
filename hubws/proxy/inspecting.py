"""The inspecting mode: messages are decoded on one side, looked at, and encoded anew for the other.

Each side is a connection of its own: its compression, its limits, its pings.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs
import trio

from ..connection.connection import Connection
from ..errors import ConnectionClosed
from ..protocol.frames import CloseCode
from ..protocol.state import Closure
from ..transport.poller import current_poller
from .watch import Watch

Message: TypeAlias = str | bytes
Verdict: TypeAlias = Message | None
Inspect: TypeAlias = Callable[[Connection, Message], Verdict | Awaitable[Verdict]]
"""Given the client's connection and a message, returns the message to pass on, or None to drop it; sync
or async. It may close the client's connection, and then returns None. When it raises, both sides are
closed with 1011."""


@attrs.frozen(kw_only=True)
class Inspection:
    """Functions that see the messages of a route, and may change or drop them. None passes them on."""

    from_client: Inspect | None = None
    """Given the client's connection and each message of the client, returns what the backend gets."""
    from_backend: Inspect | None = None
    """Given the client's connection and each message of the backend, returns what the client gets."""


class Bridge:
    """A client and its backend, joined message by message until both connections have ended."""

    def __init__(self, client: Connection, backend: Connection, inspection: Inspection) -> None:
        self._client = client
        self._backend = backend
        self._inspection = inspection
        self._moved = 0

    async def run(self, idle_timeout: float) -> None:
        """Move messages both ways, as fast as the slower side takes them."""
        client, backend = self._client, self._backend
        watch = Watch(
            current_poller().timers,
            lambda: self._moved,
            self._close,
            silence=idle_timeout,
            lifetime=math.inf,
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._move, client, backend, self._inspection.from_client)
                nursery.start_soon(self._move, backend, client, self._inspection.from_backend)
        finally:
            watch.stop()
            client.abort()
            backend.abort()

    async def _move(self, source: Connection, sink: Connection, look: Inspect | None) -> None:
        """Move messages one way, then close the sink as the source was closed."""
        try:
            async for message in source:
                self._moved += 1
                verdict: Verdict = message
                if look is not None:
                    said = look(self._client, message)
                    verdict = await said if inspect.isawaitable(said) else said
                if verdict is not None:
                    try:
                        sink.send_nowait(verdict)
                    except trio.WouldBlock:
                        await sink.send(verdict)
        except ConnectionClosed:
            pass  # either of them
        except Exception as error:  # noqa: BLE001 - logged there
            self._client.fail_for(error)
            self._backend.close_nowait(CloseCode.INTERNAL_ERROR)
        if source.closure is not None:  # else it was the sink, and the other way sees to the source
            await sink.aclose(*closing(source.closure, is_client=source is self._client))

    def _close(self, why: str) -> None:
        for connection in (self._client, self._backend):
            connection.close_nowait(CloseCode.GOING_AWAY, why)


def closing(closure: Closure, *, is_client: bool) -> tuple[int | None, str]:
    """The close code and reason for the other side: what this one said, if it said something.

    1005 is no code on the wire (RFC 6455 §7.4.1): then the close frame is empty. When this side went
    without a close frame, 1006 for itself, a backend hears that the client has gone away, and a client
    that the gateway got nothing proper from its backend.
    """
    said = closure.received or closure.sent
    if said is not None and closure.error is None:
        return (None if said.code == CloseCode.NO_STATUS else said.code), said.reason
    if is_client:
        return CloseCode.GOING_AWAY, ""
    return CloseCode.BAD_GATEWAY, "the backend was lost"
