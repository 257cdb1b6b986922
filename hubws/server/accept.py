"""From an accepted byte stream to a WebSocket connection, or to an HTTP response."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import trio

from ..connection.callbacks import NO_CALLBACKS, Callbacks
from ..connection.connection import Connection
from ..connection.queue import SendQueue
from ..connection.settings import Settings
from ..errors import ConnectionClosed, UpgradeRefused
from ..protocol.deflate import DeflateParameters
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
from ..protocol.http import Request, RequestReader, Response, is_token
from ..protocol.state import State
from ..transport.abc import Payload, Transport
from ..transport.poller import Poller
from ..transport.timers import Timer
from .authentication import Authenticate
from .observer import Observer, check_observers
from .offer import Forward, Offer, Tunnel

if TYPE_CHECKING:
    from .server import Server

logger = logging.getLogger("hubws")

MAX_EARLY = 64 * 1024
"""How much is taken of a client that sends before it has its 101, in bytes."""

GOODBYE = 1.0
"""How long a client whom a drain refuses may take to hang up, in seconds."""

INTERNAL_ERROR = Response.refusal(500, "internal error")

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
    is_secure: bool = False
    """Whether it speaks TLS itself; behind a proxy that does, it can't know."""
    headers: bytes = b""
    """More lines for the 101."""
    authenticate: Authenticate | None = None
    on_request: RequestHandler | None = None
    handshake_timeout: float = 10.0
    forward: Forward | None = None
    """Who answers instead of the server itself, once the client is let in: a proxy."""
    observers: Sequence[Observer] = ()
    forward_timeout: float = 10.0
    """How long that may take, in seconds, counted from when the request was there."""

    def __attrs_post_init__(self) -> None:
        if isinstance(self.subprotocols, str) or not all(map(is_token, self.subprotocols)):
            raise ValueError(f"subprotocols is a sequence of tokens, not {self.subprotocols!r}")
        if isinstance(self.origins, str) and self.origins not in ("same", "any"):
            raise ValueError(f"origins is 'same', 'any' or a list of origins, not {self.origins!r}")
        if not self.handshake_timeout > 0:
            raise ValueError(f"handshake_timeout must be over 0, not {self.handshake_timeout!r}")
        if self.authenticate is not None and not callable(self.authenticate):
            raise TypeError(f"authenticate is a function, not {self.authenticate!r}")
        check_observers(self.observers)


class Incoming:
    """A client whose opening handshake is under way."""

    __slots__ = (
        "_early",
        "_hook_scope",
        "_is_answering",
        "_is_closed",
        "_is_ended",
        "_poller",
        "_reader",
        "_request",
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
        self._request: Request | None = None
        self._hook_scope: trio.CancelScope | None = None  # while `authenticate` is awaited
        self._early = b""  # what came meanwhile
        self._is_answering = False
        self._is_closed = False
        self._is_ended = False  # the client has no more to say
        self._timer: Timer = poller.timers.call_at(deadline, self._expire)
        transport.receiver = self

    def _expire(self) -> None:
        if self._hook_scope is not None:
            self.give_up("judging its request took too long")
        else:
            self.give_up("no opening handshake came in time")

    def give_up(self, why: str, level: int = logging.INFO) -> None:
        """Give up and say why, unless it has its answer and is only still there."""
        if self._transport.receiver is self:
            remote = self._transport.remote
            logger.log(level, "lost %s: %s", remote, why, extra={"remote": remote})
            if self._server.observers:
                self._server.observers.tell(Observer.on_lost, remote, why)
        self.close()

    def cut(self) -> None:
        """Give up a client that said nothing while others wait for its place."""
        self.give_up("it said nothing, and others waited", logging.DEBUG)  # a crowd of them

    def close(self) -> None:
        """Give up."""
        self._is_closed = True
        self._timer.cancel()
        self._cancel_hook()
        self._transport.close()
        self._server.release(self)

    def dismiss(self, response: Response) -> None:
        """Give up, but answer a request that has come, which may take a second."""
        if self._is_answering:
            return  # it gets all of its answer, if it takes it in time
        if self._hook_scope is None:
            self.give_up("the server drains")
            return
        self._cancel_hook()
        self._timer.cancel()
        self._timer = self._poller.timers.call_later(GOODBYE, self.close)
        self._respond(response)

    def _cancel_hook(self) -> None:
        if self._hook_scope is not None:
            self._hook_scope.cancel()
            self._hook_scope = None

    def on_end(self, error: Exception | None) -> None:
        """Take note that the client went away, or, in the middle of an answer, listens only."""
        self._is_ended = True
        if error is not None or not self._is_answering:
            self.give_up("it went away")

    def on_bytes(self, buffer: Payload, end: int) -> None:
        """Take a piece of the request."""
        data = bytes(buffer[:end])
        if self._hook_scope is not None:  # the client should wait for the 101, but need not
            self._early += data
            if len(self._early) > MAX_EARLY:
                self._transport.pause()
            return
        try:
            request = self._reader.receive_data(data)
            if request is None:
                return
            self._request = request
            self._server.heard(self)
            if is_upgrade(self._reader.headers):
                self._upgrade(request)
            else:
                self._respond(self._answer(request), with_body=request.method != "HEAD")
        except Exception as error:  # noqa: BLE001 - logged there
            self._refuse(error)

    def _answer(self, request: Request) -> Response:
        on_request = self._server.service.on_request
        response = None if on_request is None else on_request(request)
        return upgrade_required() if response is None else response

    def _upgrade(self, request: Request) -> None:
        """Judge an opening handshake; what costs least comes first."""
        service, headers = self._server.service, self._reader.headers
        key = check_request(request, headers)
        accept: Callable[[Any], object]
        check_origin(headers, service.origins, is_secure=service.is_secure)
        if service.forward is None:
            subprotocol = choose_subprotocol(headers, service.subprotocols)
            compression = choose_compression(headers, service.settings.compression)
            accept = partial(self._accept, request, key, subprotocol, compression)
        else:
            accept = partial(self._forward, request, key)
        self._server.admission.check(self._transport.remote)
        if service.authenticate is None:
            accept(None)
            return
        answer = service.authenticate(request)
        if inspect.isawaitable(answer):
            self._wait_for(answer, partial(self._admit, accept=accept))
        else:
            self._admit(answer, accept)

    def _wait_for(self, hook: Awaitable[Any], proceed: Callable[[Any], object]) -> None:
        self._hook_scope = trio.CancelScope()
        self._server.start_soon(self._await, self._hook_scope, hook, proceed)

    async def _await(
        self, scope: trio.CancelScope, hook: Awaitable[Any], proceed: Callable[[Any], object]
    ) -> None:
        """Await what a hook says, unless the handshake is given up before, and go on with that."""
        said: Any = None
        failure: Exception | None = None
        try:
            with scope:
                said = await hook
        except Exception as error:  # noqa: BLE001 - logged below
            failure = error
        if self._hook_scope is not scope:
            return  # the handshake was given up, or the hook has answered it
        self._hook_scope = None
        self._transport.resume()
        if failure is not None:
            self._refuse(failure)
            return
        try:
            proceed(said)
        except Exception as error:  # noqa: BLE001 - logged there
            self._refuse(error)

    def _admit(self, user: Any, accept: Callable[[Any], object]) -> None:
        if isinstance(user, Response):
            if not 300 <= user.status <= 599:
                raise ValueError(
                    f"authenticate refuses with a status from 300 to 599, not {user.status}"
                )
            raise UpgradeRefused(user)
        self._server.admission.check(self._transport.remote, user)  # others came meanwhile
        accept(user)

    def _accept(
        self,
        request: Request,
        key: str,
        subprotocol: str | None,
        compression: DeflateParameters | None,
        user: Any,
        headers: bytes = b"",
    ) -> Connection:
        service = self._server.service
        acceptance = build_acceptance(key, subprotocol, compression, service.headers + headers)
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
            user=user,
        )
        connection.send_handshake(acceptance)
        self._server.adopt(self, connection)
        connection.begin(self._reader.rest + self._early)
        self._server.after_opening(connection)
        return connection

    # -- forwarding ----------------------------------------------------------------------------

    def _forward(self, request: Request, key: str, user: Any) -> None:
        """Have somebody else answer, who has a time of its own for it."""
        service = self._server.service
        assert service.forward is not None
        self._timer.cancel()
        self._timer = self._poller.timers.call_later(
            service.forward_timeout + GOODBYE, self._expire
        )
        offer = Offer(self, request, self._reader.headers, key, user, self._transport.remote)
        self._wait_for(service.forward(offer), _not_answered)

    @property
    def is_waiting(self) -> bool:
        """Whether the client still waits for what a hook says."""
        return self._hook_scope is not None

    def check(self, user: Any) -> None:
        """Judge again whether there is room (see `Offer.check`)."""
        self._server.admission.check(self._transport.remote, user)

    def open(self, offer: Offer, *answer: Any) -> Connection:
        """Answer an offer with 101 (see `Offer.open`)."""
        self._hook_scope = None
        self._transport.resume()
        subprotocol, compression, headers = answer
        return self._accept(offer.request, offer.key, subprotocol, compression, offer.user, headers)

    def acceptance(self, key: str, subprotocol: str | None, headers: bytes) -> bytes:
        """A 101 (see `Offer.acceptance`)."""
        return build_acceptance(key, subprotocol, None, self._server.service.headers + headers)

    def hand_over(self, make: Callable[[Transport], Tunnel]) -> None:
        """Give the client's stream away (see `Offer.hand_over`)."""
        tunnel = make(self._transport)
        self._hook_scope = None
        self._timer.cancel()
        self._transport.resume()
        self._server.adopt(self, tunnel)
        tunnel.begin(self._reader.rest + self._early)
        self._server.after_opening(tunnel)

    def _refuse(self, error: Exception) -> None:
        if isinstance(error, UpgradeRefused):
            self._log(logging.INFO, "refused %s: %s", error)
            self._respond(error.response)
        else:
            self._log(
                logging.ERROR, "the request of %s could not be handled: %s", error, exc_info=error
            )
            self._respond(INTERNAL_ERROR)

    def _log(self, level: int, words: str, error: Exception, **kwargs: Any) -> None:
        remote = self._transport.remote
        why = str(error).encode("unicode_escape").decode()  # it may quote what the client chose
        logger.log(level, words, remote, why, extra={"remote": remote}, **kwargs)

    def _respond(self, response: Response, *, with_body: bool = True) -> None:
        """Send a response and hang up."""
        try:
            data = response.to_bytes(with_body=with_body)
        except Exception as error:  # noqa: BLE001 - headers that may not be sent, or no response
            self._log(logging.ERROR, "the answer to %s can't be sent: %s", error, exc_info=error)
            response = INTERNAL_ERROR
            data = response.to_bytes()
        remote = self._transport.remote
        if self._server.observers:
            self._server.observers.tell(
                Observer.on_response, self._request, remote, response.status
            )
        self._is_answering = True
        self._transport.receiver = Ignorer(self)
        self._server.start_soon(self._send, data)

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


def _not_answered(_: object) -> None:
    raise RuntimeError("forward returned without an answer")


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
    if connection.state is not State.CLOSED:
        await connection.aclose(CloseCode.NORMAL)
