"""Serving as a proxy: from routes to a proxy at work."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack

import attrs
import trio

from ..connection.settings import Settings, SettingsArguments
from ..protocol.handshake import Origins
from ..protocol.http import HeaderPairs, Headers, Request, Response
from ..server.accept import RequestHandler, Service
from ..server.admission import AdmissionLimits
from ..server.authentication import Authenticate
from ..server.observer import Observer
from ..server.serve import MAX_HANDSHAKES, Drain, Where, run
from ..server.server import Server, ServerStatistics
from .backends import BackendStatistics
from .forward import NOT_FOUND, Forwarder, Forwarding
from .health import HealthCheck
from .routes import Route, find


@attrs.frozen
class ProxyStatistics:
    """Figures of a proxy at one moment."""

    server: ServerStatistics
    backends: Sequence[BackendStatistics]
    """In the order of the routes."""


class Proxy:
    """A proxy at work; `serve_proxy` hands it to `task_status.started`.

    Attributes:
        server: what accepts: where it listens, `drain`, `hand_over`.

    """

    def __init__(self, server: Server, forwarder: Forwarder) -> None:
        self.server = server
        self._forwarder = forwarder

    @property
    def port(self) -> int:
        """The port of the first listener that has one."""
        return self.server.port

    def statistics(self) -> ProxyStatistics:
        """Figures at this moment."""
        return ProxyStatistics(
            self.server.statistics(),
            [one.statistics() for pool in self._forwarder.pools for one in pool.upstreams],
        )


async def serve_proxy(
    routes: Sequence[Route],
    host: str | bytes | None = None,
    port: int | None = None,
    *,
    health_check: HealthCheck | None = None,
    trust_forwarded: bool = False,
    connect_timeout: float = 5,
    timeout: float = 10,  # noqa: ASYNC109 - it becomes a 504
    listeners: Sequence[trio.abc.Listener[Any]] | None = None,
    unix_path: str | os.PathLike[str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    backlog: int = 4096,
    authenticate: Authenticate | None = None,
    max_connections: int | None = None,
    max_connections_per_address: int | None = None,
    max_connections_per_user: int | None = None,
    max_handshakes: int | None = MAX_HANDSHAKES,
    origins: Origins = "any",
    headers: HeaderPairs = (),
    on_request: RequestHandler | None = None,
    observers: Sequence[Observer] = (),
    handshake_timeout: float = 10,
    grace: float = 5,
    spread: float = 0,
    retry_after: float | None = None,
    task_status: trio.TaskStatus[Proxy] = trio.TASK_STATUS_IGNORED,
    **settings: Unpack[SettingsArguments],
) -> None:
    """Serve as a reverse proxy for WebSockets until cancelled or drained.

    A client is answered when its backend has been: with 101, with the backend's own refusal, with 404
    where no route fits, 502 when no backend could be reached, 503 when none is healthy or has room, or
    504 when none answered in time.

    Args:
        routes: the first one that fits a request's path and host takes it.
        health_check: check all backends again and again; None: only clients find out.
        trust_forwarded: clients are proxies whose X-Forwarded-* and Forwarded (RFC 7239) are true:
            append to them, rather than replace them.
        connect_timeout: for dialling one backend, TLS included, before the next one is tried.
        timeout: for everything from the client's request to the backend's answer.
        origins: which web pages may connect; as for `serve`, but "any" by default, since the backend
            gets the Origin and may judge.
        on_request: called with each plain HTTP request; returns its `Response`, or None for 404, or
            426 where a route fits. Plain requests are not forwarded.
        handshake_timeout: for a client to send its request, TLS included.
        grace: for proxied connections to end when cancelled. Inspected ones are closed with 1001;
            others go on until somebody ends them, or the time is up.
        task_status: started with the `Proxy`, which knows its `port`.
        **settings: see `Settings`. In transparent mode, four of them count: `idle_timeout`, without any
            byte, either way; `max_lifetime`; `write_timeout`; and `close_timeout`, without any byte
            after one side has ended.
        host, port, listeners, unix_path, ssl_context, backlog: as for `serve`.
        authenticate, headers, observers, spread, retry_after: as for `serve`.
        max_connections, max_connections_per_address, max_connections_per_user: as for `serve`.
        max_handshakes: as for `serve`.

    Times are in seconds. Raises OSError when it can't listen, TypeError or ValueError for arguments
    that make no sense.

    """
    checked = Settings(**settings)
    forwarding = Forwarding(
        routes=tuple(routes),
        settings=checked,
        is_secure=ssl_context is not None,
        trust_forwarded=trust_forwarded,
        connect_timeout=connect_timeout,
        timeout=timeout,
    )
    if max_connections_per_user is not None and authenticate is None:
        raise TypeError("max_connections_per_user needs authenticate, which says who a user is")
    forwarder = Forwarder(forwarding)
    service = Service(
        handler=None,
        settings=attrs.evolve(checked, idle_timeout=None),  # a bridge counts both ways
        origins=origins,
        is_secure=ssl_context is not None,
        headers=Headers(headers).to_bytes(),
        authenticate=authenticate,
        on_request=partial(_answer, forwarding.routes, on_request),
        observers=observers,
        handshake_timeout=handshake_timeout,
        forward=forwarder,
        forward_timeout=timeout,
    )
    limits = AdmissionLimits(
        max_connections=max_connections,
        max_connections_per_address=max_connections_per_address,
        max_connections_per_user=max_connections_per_user,
        max_handshakes=max_handshakes,
        retry_after=retry_after,
    )
    where = Where(host=host, port=port, listeners=listeners, unix_path=unix_path, backlog=backlog)
    drain = Drain(grace=grace, spread=spread, retry_after=retry_after)
    starting = _Starting(forwarder, health_check, task_status)
    await run(service, where, limits, ssl_context, drain, starting)


class _Starting(trio.TaskStatus[Server]):
    """Makes a proxy of the server that has started."""

    def __init__(
        self,
        forwarder: Forwarder,
        health_check: HealthCheck | None,
        task_status: trio.TaskStatus[Proxy],
    ) -> None:
        self._forwarder = forwarder
        self._health_check = health_check
        self._task_status = task_status

    def started(self, server: Server) -> None:
        if self._health_check is not None:
            server.start_soon(self._check, server, self._health_check)
        self._task_status.started(Proxy(server, self._forwarder))

    async def _check(self, server: Server, health_check: HealthCheck) -> None:
        """Check all backends until the server drains."""
        async with trio.open_nursery() as nursery:
            for pool in self._forwarder.pools:
                for upstream in pool.upstreams:
                    nursery.start_soon(health_check.run, upstream)
            await server.wait_draining()
            nursery.cancel_scope.cancel()


def _answer(
    routes: Sequence[Route], on_request: RequestHandler | None, request: Request
) -> Response | None:
    """Answer a plain HTTP request: by the application, 404, or, with None, 426."""
    response = None if on_request is None else on_request(request)
    if response is None and find(routes, request.target, request.headers) is None:
        return NOT_FOUND
    return response
