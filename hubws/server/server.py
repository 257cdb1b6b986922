"""A server at work: who is connected, and how it ends."""

from __future__ import annotations

import logging
import math
import os
import random
import ssl
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import attrs
import trio

from ..connection.connection import Connection
from ..protocol.frames import CloseCode
from ..transport.abc import SocketAddress, Transport
from ..transport.poller import current_poller
from .accept import Incoming, Service, handle
from .acceptor import Acceptor
from .admission import RETRY_AFTER, Admission, AdmissionLimits, check_retry_after, unavailable
from .listeners import MAX_LISTENERS, hand_over, socket_of
from .observer import Observer, Observers
from .offer import Tunnel

logger = logging.getLogger("hubws")


@attrs.frozen
class ServerStatistics:
    """Figures of a server at one moment."""

    connections: int
    handshaking: int
    """Clients whose opening handshake is under way, TLS included."""
    accepted: int
    """Connections opened since the server started."""
    refused: int = 0
    """Opening handshakes refused at a limit of connections."""


class Server:
    """A server at work; `serve` hands it to `task_status.started`.

    Attributes:
        listeners: what it listens on; empty once they were handed over.
        addresses: where it listens, as the socket module gives addresses.
        clean: after it has ended: whether all connections were closed in order.

    """

    def __init__(
        self,
        service: Service,
        listeners: list[trio.abc.Listener[Any]],
        nursery: trio.Nursery,
        limits: AdmissionLimits,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.service = service
        self.listeners = listeners
        self.addresses: list[SocketAddress] = [
            sock.getsockname() for sock in map(socket_of, listeners) if sock is not None
        ]
        self.clean = True
        self._nursery = nursery
        self._poller = current_poller()
        self._acceptor = Acceptor(
            self,
            self._poller,
            ssl_context=ssl_context,
            handshake_timeout=service.handshake_timeout,
            max_handshakes=limits.max_handshakes,
        )
        self.admission = Admission(limits)
        self.observers = Observers(service.observers)
        self._connections: dict[Any, None] = {}  # and a proxy's tunnels
        self._forget_one = self._forget  # bound once, for every connection holds on to it
        self._incoming: dict[Incoming, None] = {}
        self._accepted = 0
        self._is_detached = False
        self._drain: _Drain | None = None
        self._draining = trio.Event()
        self._idle: trio.Event | None = None  # set when nobody is left, for a drain

    @property
    def port(self) -> int:
        """The port of the first listener that has one; ValueError when none has."""
        for address in self.addresses:
            if isinstance(address, tuple):
                return int(address[1])
        raise ValueError("the server listens on no port")

    @property
    def connections(self) -> Collection[Connection]:
        """The open connections, in the order in which they opened; a live view."""
        return self._connections.keys()

    def statistics(self) -> ServerStatistics:
        """Figures at this moment."""
        return ServerStatistics(
            len(self._connections),
            self._acceptor.handshakes,
            self._accepted,
            self.admission.refused,
        )

    # -- for those who are being accepted ------------------------------------------------------

    async def accept_forever(self) -> None:
        """Accept on all listeners until the server drains."""
        await self._acceptor.run(self.listeners)
        await self.wait_draining()

    async def wait_draining(self) -> None:
        """Wait until the server begins to drain."""
        await self._draining.wait()

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run something in the server's nursery; what it raises is logged and ends nothing else."""
        self._nursery.start_soon(_guard, function, *args)

    def begin(self, transport: Transport, deadline: float) -> None:
        """Begin an opening handshake that must be done by then."""
        if self._drain is not None and not self._is_detached:
            transport.close()
            self.give_up(transport.remote, "the server drains")
        else:
            incoming = Incoming(self, transport, self._poller, deadline)
            self._incoming[incoming] = None
            self._acceptor.watch(incoming.cut)
            transport.start()

    def give_up(self, remote: SocketAddress, why: str) -> None:
        """Forget a client with whom no opening handshake began."""
        if self.observers:
            self.observers.tell(Observer.on_lost, remote, why)
        self._acceptor.release()
        self._tell_if_idle()

    def heard(self, incoming: Incoming) -> None:
        """Take note that a client's request is here."""
        self._acceptor.unwatch(incoming.cut)

    def release(self, incoming: Incoming) -> None:
        """Forget a client whose opening handshake has ended."""
        if incoming in self._incoming:
            del self._incoming[incoming]
            self._acceptor.unwatch(incoming.cut)
            self._acceptor.release()
            self._tell_if_idle()

    def adopt(self, incoming: Incoming, connection: Connection | Tunnel) -> None:
        """Take a connection, or a proxy's tunnel, whose opening handshake is done."""
        self._accepted += 1
        self._connections[connection] = None
        self.admission.enter(connection)
        self.release(incoming)
        connection.add_end_callback(self._forget_one)
        if self.observers:
            self.observers.tell(Observer.on_opened, connection)
        if self.service.handler is not None and isinstance(connection, Connection):
            self._poller.has_woken = True
            self._nursery.start_soon(handle, self.service.handler, connection)

    def after_opening(self, connection: Connection | Tunnel) -> None:
        """See off a connection that opened while the server drains."""
        if self._drain is not None:
            self._drain.close(connection)

    def _forget(self, connection: Connection | Tunnel) -> None:
        del self._connections[connection]
        self.admission.leave(connection)
        self._tell_if_idle()
        if self.observers:
            self.observers.tell(Observer.on_ended, connection)

    # -- handing over --------------------------------------------------------------------------

    def detach_listeners(self) -> list[trio.SocketListener]:
        """Stop accepting, and give the listening sockets to the caller, open as they are.

        For a successor process, which may have them already: until they are closed here as well,
        clients that connect wait in their queue. Connections and handshakes under way go on, until
        `serve` is cancelled or `drain` is called. TypeError, with nothing changed, when one of the
        listeners is no socket; RuntimeError once the server accepts no more.
        """
        listeners = self._socket_listeners()
        self._is_detached = True
        self._acceptor.stop()
        self.listeners.clear()
        return listeners

    async def hand_over(self, path: str | os.PathLike[str]) -> None:
        """Wait for a successor process, which calls `take_over` with this path, and let it take over.

        Accepts until the successor serves, then closes the listening sockets here: at every moment
        there is somebody who accepts. When the successor fails before that, waits for another. The
        path is made, for this user alone, and removed. Afterwards `drain`, or cancel `serve`.
        Raises as `detach_listeners`, and OSError when it can't listen at that path.
        """
        listeners = self._socket_listeners()
        sockets = [sock for sock in map(socket_of, listeners) if sock is not None]
        await hand_over(path, sockets, self._let_go)

    def _let_go(self) -> None:
        if self._drain is None:
            for listener in self.detach_listeners():
                listener.socket.close()

    def _socket_listeners(self) -> list[trio.SocketListener]:
        if self._drain is not None or self._is_detached:
            raise RuntimeError("the server does not accept any more")
        found = []
        for listener in self.listeners:
            plain = (
                listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
            )
            if not isinstance(plain, trio.SocketListener):
                raise TypeError(f"{plain!r} is no socket and can't be handed over")
            found.append(plain)
        if len(found) > MAX_LISTENERS:
            raise ValueError(f"at most {MAX_LISTENERS} listeners can be handed over")
        return found

    # -- ending --------------------------------------------------------------------------------

    async def drain(
        self, grace: float, *, spread: float = 0, retry_after: float | None = None
    ) -> bool:
        """Shut down in order; returns whether every connection was closed cleanly.

        Stops accepting; closes all connections with 1001, spread evenly over `spread` seconds; waits
        for what they still have to send and for their peers' close frames; after `grace` seconds in
        all, or when it is cancelled, ends what is left.

        With `retry_after` every client is told when to come back, in seconds, at random between that
        and `spread` more: by the close reason "going away; retry-after=2.5", or in the header
        Retry-After of a 503. Handshakes under way get that 503 if their request has come, and are
        cut otherwise; but where a successor has the listeners, they are completed first.
        """
        check_drain(grace, spread, retry_after)
        if self._drain is not None:
            await self._drain.done.wait()
            return self.clean
        self._drain = drain = _Drain(spread, retry_after)
        self._draining.set()
        self._acceptor.stop()
        if not self._is_detached:
            for incoming in list(self._incoming):
                incoming.dismiss(unavailable("the server is going away", drain.retry_seconds()))
        try:
            with trio.move_on_after(grace):
                for listener in self.listeners:  # so that clients are refused rather than kept
                    await trio.aclose_forcefully(listener)
                await drain.close_all(list(self._connections))
                while self._is_busy():
                    self._idle = trio.Event()
                    await self._idle.wait()
        finally:
            for incoming in list(self._incoming):
                incoming.give_up("the server has ended")
            left = list(self._connections)
            for connection in left:
                connection.abort()
            self.clean = not left and drain.clean
            if left:
                logger.warning("%d connections did not close within %g s", len(left), grace)
            drain.done.set()
        return self.clean

    def _is_busy(self) -> bool:
        # handshakes that no drain waits for, in TLS, are not among the incoming
        return bool(self._connections or self._incoming) or (
            self._is_detached and self._acceptor.handshakes > 0
        )

    def _tell_if_idle(self) -> None:
        if self._idle is not None and not self._is_busy():
            self._idle.set()


class _Drain:
    """The end of a server's connections."""

    def __init__(self, spread: float, retry_after: float | None) -> None:
        self.done = trio.Event()
        self._spread = spread
        self._retry_after = retry_after
        self._closed: list[Connection | Tunnel] = []

    def retry_seconds(self) -> float:
        """When a client should come back: not all at once."""
        base = RETRY_AFTER if self._retry_after is None else self._retry_after
        return base + random.uniform(0, self._spread)  # noqa: S311 - no secret

    def close(self, connection: Connection | Tunnel) -> None:
        """Close one."""
        reason = ""
        if self._retry_after is not None:
            reason = f"going away; retry-after={self.retry_seconds():.1f}"
        connection.close_nowait(CloseCode.GOING_AWAY, reason)
        self._closed.append(connection)

    async def close_all(self, connections: list[Connection | Tunnel]) -> None:
        """Close them at even distances."""
        began = trio.current_time()
        for number, connection in enumerate(connections, 1):
            self.close(connection)
            if self._spread:
                await trio.sleep_until(began + self._spread * number / len(connections))

    @property
    def clean(self) -> bool:
        """Whether those that were closed ended in order."""
        return all(closure.clean for connection in self._closed if (closure := connection.closure))


def check_drain(grace: float, spread: float, retry_after: float | None) -> None:
    """ValueError for times that make no sense."""
    if not grace >= 0:
        raise ValueError(f"grace must not be below 0, not {grace!r}")
    if not 0 <= spread < math.inf or spread > grace:
        raise ValueError(f"spread must be from 0 to grace, {grace!r}, not {spread!r}")
    check_retry_after(retry_after)


async def _guard(function: Callable[..., Awaitable[object]], *args: object) -> None:
    try:
        await function(*args)
    except Exception:
        logger.exception("serving a client failed")
