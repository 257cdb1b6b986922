"""Serving: from arguments to a running server, and to its end."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import Any, Unpack

import attrs
import trio

from ..connection.callbacks import NO_CALLBACKS, Callbacks
from ..connection.settings import Settings, SettingsArguments
from ..protocol.handshake import Origins
from ..protocol.http import HeaderPairs, Headers
from .accept import Handler, RequestHandler, Service
from .admission import AdmissionLimits
from .authentication import Authenticate
from .listeners import check_port, open_unix_listener, remove
from .observer import Observer
from .server import Server, check_drain

MAX_HANDSHAKES = 1000
"""How many opening handshakes may be under way when nothing else is said."""


async def serve(
    handler: Handler | Callbacks,
    host: str | bytes | None = None,
    port: int | None = None,
    *,
    callbacks: Callbacks = NO_CALLBACKS,
    listeners: Sequence[trio.abc.Listener[Any]] | None = None,
    unix_path: str | os.PathLike[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    backlog: int = 4096,
    authenticate: Authenticate | None = None,
    max_connections: int | None = None,
    max_connections_per_address: int | None = None,
    max_connections_per_user: int | None = None,
    max_handshakes: int | None = MAX_HANDSHAKES,
    subprotocols: Sequence[str] = (),
    origins: Origins = "same",
    headers: HeaderPairs = (),
    on_request: RequestHandler | None = None,
    observers: Sequence[Observer] = (),
    handshake_timeout: float = 10,
    grace: float = 5,
    spread: float = 0,
    retry_after: float | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **settings: Unpack[SettingsArguments],
) -> None:
    """Serve WebSocket connections until cancelled or drained (RFC 6455 §4.2).

    Args:
        handler: an async function that is called with each `Connection`, in a task of its own, or
            `Callbacks`. When the function returns, its connection is closed with 1000; when it
            raises, with 1011, and the server goes on.
        host: where to listen, as `trio.open_tcp_listeners`; None: on all interfaces.
        port: 0 for any that is free; None: on no TCP port, but on `listeners` or `unix_path` alone.
        callbacks: called beside an async handler.
        listeners: ready listeners, beside or instead of `host` and `port`; also those of
            `inherited_listeners` and `take_over`.
        unix_path: a Unix socket to listen on, beside or instead of the others. It is made, and
            removed at the end.
        ssl_context: speak TLS on every socket; not on listeners that are not sockets.
        backlog: how many connections the system keeps until they are accepted.
        authenticate: called with the `Request` of each proper opening handshake, sync or async,
            within `handshake_timeout`; cancelled when the client goes away. What it returns is
            `connection.user`, None for anonymous; a `Response` with a status from 300 on refuses, as
            `UpgradeRefused` does. When it raises anything else, the client gets 500. See
            `basic_auth` and `bearer_auth`.
        max_connections: more than these are refused with 503.
        max_connections_per_address: from one IPv4 address or one IPv6 /64; as above. Unix sockets
            have no address.
        max_connections_per_user: of one user, who must be hashable then; as above.
        max_handshakes: while so many are under way, TLS included, no more are accepted; clients
            wait in the listener's queue. Then who has not sent its request within a second makes
            room. None for any number.
        subprotocols: the ones the server speaks, the preferred first.
        origins: which web pages may connect: "same" (as the Host header, and whoever sends no
            Origin), "any", or the allowed ones, such as "https://example.org"; None in it allows
            requests without Origin.
        headers: more headers for the 101.
        on_request: called with each plain HTTP request that is no upgrade; returns its `Response`,
            or None for 426. Enough for a page and a health check.
        observers: are told what becomes of each client, such as `AccessLog` and
            `hubws.metrics.Metrics`.
        handshake_timeout: for everything up to the 101, TLS too, in seconds.
        grace: for closing all connections with 1001 when cancelled, in seconds.
        spread: over which the closing is spread then, in seconds, at most `grace`.
        retry_after: what clients are told to wait before they come back, in seconds: the refused, in
            Retry-After (5 when None), and, unless None, those closed when cancelled (see
            `Server.drain`).
        task_status: started with the `Server`, which knows its `port`.
        **settings: see `Settings`.

    Raises OSError when it can't listen, TypeError or ValueError for arguments that make no sense.

    """
    function: Handler | None = None
    if isinstance(handler, Callbacks):
        if callbacks is not NO_CALLBACKS:
            raise TypeError("Callbacks were given twice, as handler and as callbacks")
        callbacks = handler
    elif callable(handler):
        function = handler
    else:
        raise TypeError(f"handler is an async function or Callbacks, not {handler!r}")
    if max_connections_per_user is not None and authenticate is None:
        raise TypeError("max_connections_per_user needs authenticate, which says who a user is")
    limits = AdmissionLimits(
        max_connections=max_connections,
        max_connections_per_address=max_connections_per_address,
        max_connections_per_user=max_connections_per_user,
        max_handshakes=max_handshakes,
        retry_after=retry_after,
    )
    service = Service(
        handler=function,
        callbacks=callbacks,
        settings=Settings(**settings),
        subprotocols=subprotocols,
        origins=origins,
        is_secure=ssl_context is not None,
        headers=Headers(headers).to_bytes(),
        authenticate=authenticate,
        on_request=on_request,
        observers=observers,
        handshake_timeout=handshake_timeout,
    )
    where = Where(host=host, port=port, listeners=listeners, unix_path=unix_path, backlog=backlog)
    drain = Drain(grace=grace, spread=spread, retry_after=retry_after)
    await run(service, where, limits, ssl_context, drain, task_status)


@attrs.frozen(kw_only=True)
class Where:
    """Where to listen; see `serve`."""

    host: str | bytes | None
    port: int | None
    listeners: Sequence[trio.abc.Listener[Any]] | None
    unix_path: str | os.PathLike[str] | None
    backlog: int

    def __attrs_post_init__(self) -> None:
        if self.port is None and not self.listeners and self.unix_path is None:
            raise TypeError("serve needs a port, listeners or unix_path to listen on")
        if self.port is not None:
            check_port(self.port)


@attrs.frozen(kw_only=True)
class Drain:
    """How to end when cancelled; see `serve`."""

    grace: float
    spread: float
    retry_after: float | None

    def __attrs_post_init__(self) -> None:
        check_drain(self.grace, self.spread, self.retry_after)


async def run(
    service: Service,
    where: Where,
    limits: AdmissionLimits,
    ssl_context: ssl.SSLContext | None,
    drain: Drain,
    task_status: trio.TaskStatus[Server],
) -> None:
    """Listen there and serve until cancelled or drained."""
    opened = list(where.listeners or ())  # what is handed over to a successor is taken out of it
    unix_listener: trio.SocketListener | None = None
    try:
        if where.port is not None:
            opened += await trio.open_tcp_listeners(
                where.port, host=where.host, backlog=where.backlog
            )
        if where.unix_path is not None:
            unix_listener = open_unix_listener(where.unix_path, where.backlog)
            opened.append(unix_listener)
        await _run(service, opened, limits, ssl_context, drain, task_status)
    finally:
        if where.unix_path is not None and unix_listener in opened:
            await remove(where.unix_path)
        for listener in opened:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(listener)


async def _run(
    service: Service,
    listeners: list[trio.abc.Listener[Any]],
    limits: AdmissionLimits,
    ssl_context: ssl.SSLContext | None,
    drain: Drain,
    task_status: trio.TaskStatus[Server],
) -> None:
    """Accept until cancelled or drained, and give every handler until the end of the drain.

    Handlers run in a nursery that is shielded from whatever cancels the server, so that they see
    their connections close in order.
    """
    failure: BaseException | None = None
    stop = trio.Event()
    async with trio.open_nursery() as outer:
        with trio.CancelScope(shield=True):  # cancelled here, the task would never be handed over
            handlers = await outer.start(_hold_nursery, stop)
        server = Server(service, listeners, handlers, limits, ssl_context)
        server.observers.tell(Observer.on_started, server)
        try:
            task_status.started(server)
            await server.accept_forever()
        except BaseException as error:  # noqa: BLE001 - raised below, when all is closed
            failure = error
        with trio.CancelScope(shield=True):
            deadline = trio.current_time() + drain.grace
            await server.drain(drain.grace, spread=drain.spread, retry_after=drain.retry_after)
            handlers.cancel_scope.deadline = max(deadline, trio.current_time())
            stop.set()
    server.observers.tell(Observer.on_stopped, server)
    if failure is not None:
        raise failure


async def _hold_nursery(stop: trio.Event, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Keep a shielded nursery open until told to stop."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await stop.wait()
