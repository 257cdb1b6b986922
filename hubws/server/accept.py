"""From an accepted byte stream to a WebSocket connection, or to an HTTP response."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from ..connection.callbacks import NO_CALLBACKS, Callbacks
from ..connection.connection import Connection
from ..connection.queue import SendQueue
from ..connection.settings import Settings
from ..errors import ConnectionClosed, UpgradeRefused
from ..protocol.frames import CloseCode
from ..protocol.handshake import (
    Origins,
    build_acceptance,
    check_origin,
    check_request,
    choose_compression,
    choose_subprotocol,
    is_upgrade,
    upgrade_required,
)
from ..protocol.http import Request, RequestReader, Response
from ..transport.abc import Payload, Transport
from ..transport.poller import Poller
from ..transport.timers import Timer

if TYPE_CHECKING:
    from .server import Server

logger = logging.getLogger("hubws")

Handler: TypeAlias = Callable[[Connection], Awaitable[object]]
"""What a server runs for each connection, in a task of its own; the connection is closed after it."""

RequestHandler: TypeAlias = Callable[[Request], Response | None]
"""Answers a plain HTTP request, or None for 426 Upgrade Required."""


@attrs.frozen(kw_only=True)
class Service:
    """What a server does with those who connect."""

    handler: Handler | None
    callbacks: Callbacks = NO_CALLBACKS
    settings: Settings
    subprotocols: Sequence[str] = ()
    origins: Origins = "same"
    headers: bytes = b""
    """More lines for the 101."""
    on_request: RequestHandler | None = None
    handshake_timeout: float = 10.0


class Incoming:
    """A client whose opening handshake is under way."""

    __slots__ = (
        "_is_answering",
        "_is_closed",
        "_is_ended",
        "_poller",
        "_reader",
        "_server",
        "_timer",
        "_transport",
    )

    def __init__(
        self, server: Server, transport: Transport, poller: Poller, deadline: float
    ) -> None:
        self._server = server
        self._transport = transport
        self._poller = poller
        self._reader = RequestReader()
        self._is_answering = False
        self._is_closed = False
        self._is_ended = False  # the client has no more to say
        self._timer: Timer = poller.timers.call_later(
            max(0, deadline - trio.current_time()), self._expire
        )
        transport.receiver = self
        transport.start()

    def _expire(self) -> None:
        logger.info("no opening handshake came from %s in time", self._transport.remote)
        self.close()

    def close(self) -> None:
        """Give up."""
        self._is_closed = True
        self._timer.cancel()
        self._transport.close()
        self._server.release(self)

    def on_end(self, error: Exception | None) -> None:
        """Take note that the client went away, or, in the middle of an answer, listens only."""
        self._is_ended = True
        if error is not None or not self._is_answering:
            self.close()

    def on_bytes(self, buffer: Payload, end: int) -> None:
        """Take a piece of the request."""
        try:
            request = self._reader.receive_data(bytes(buffer[:end]))
            if request is None:
                return
            headers = self._reader.headers
            if is_upgrade(headers):
                self._upgrade(request)
            else:
                self._respond(self._answer(request), with_body=request.method != "HEAD")
        except UpgradeRefused as refused:
            logger.info("refused %s: %s", self._transport.remote, refused)
            self._respond(refused.response)
        except Exception:
            logger.exception("the request of %s could not be handled", self._transport.remote)
            self._respond(Response.refusal(500, "internal error"))

    def _answer(self, request: Request) -> Response:
        on_request = self._server.service.on_request
        response = None if on_request is None else on_request(request)
        return upgrade_required() if response is None else response

    def _upgrade(self, request: Request) -> None:
        service, headers = self._server.service, self._reader.headers
        key = check_request(request, headers)
        check_origin(headers, service.origins)
        self._server.check_admission()
        subprotocol = choose_subprotocol(headers, service.subprotocols)
        compression = choose_compression(headers, service.settings.compression)
        acceptance = build_acceptance(key, subprotocol, compression, service.headers)
        self._timer.cancel()
        connection = Connection(
            self._transport,
            self._poller,
            is_client=False,
            settings=service.settings,
            callbacks=service.callbacks,
            subprotocol=subprotocol,
            compression=compression,
            request=request,
        )
        connection.send_handshake(acceptance)
        self._server.adopt(self, connection)
        connection.begin(self._reader.rest)

    def _respond(self, response: Response, *, with_body: bool = True) -> None:
        """Send a response and hang up."""
        self._is_answering = True
        self._transport.receiver = Ignorer(self)
        self._server.start_soon(self._send, response.to_bytes(with_body=with_body))

    async def _send(self, data: bytes) -> None:
        """Write a response within what is left of the handshake's time."""
        queue = SendQueue(1, len(data))
        queue.put(data)
        try:
            while not (queue.is_empty or self._is_closed):
                await self._transport.write(queue)
        except OSError:
            self.close()
            return
        self._is_answering = False
        # Closing while something of the client's is unread would reset the connection, and the
        # response might be lost: wait for the client to close, or for the timer.
        if self._is_ended or not self._transport.end_output():
            self.close()


class Ignorer:
    """A receiver that throws away what comes behind a request that has been answered."""

    __slots__ = ("_incoming",)

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def on_bytes(self, buffer: Payload, end: int) -> None:
        """Throw it away."""

    def on_end(self, error: Exception | None) -> None:
        """The client has gone, with the response or without it."""
        self._incoming.on_end(error)


async def handle(handler: Handler, connection: Connection) -> None:
    """Run a handler for a connection and close it afterwards: 1000, or 1011 when it raised."""
    try:
        await handler(connection)
    except ConnectionClosed:
        pass
    except Exception as error:  # noqa: BLE001 - logged there
        # A handler with a nursery of its own raises ConnectionClosed in a group.
        if not isinstance(error, ExceptionGroup) or error.split(ConnectionClosed)[1]:
            connection.fail_for(error)
    await connection.aclose(CloseCode.NORMAL)
