"""Listening, accepting, draining."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Unpack

import attrs
import trio

from ..connection.callbacks import NO_CALLBACKS, Callbacks
from ..connection.connection import Connection
from ..connection.settings import Settings, SettingsArguments
from ..errors import UpgradeRefused
from ..protocol.frames import CloseCode
from ..protocol.handshake import Origins
from ..protocol.http import HeaderPairs, Headers, Response, is_token
from ..transport.abc import SocketAddress, Transport
from ..transport.poller import current_poller
from ..transport.socket import SocketTransport
from ..transport.stream import StreamTransport, addresses_of
from ..transport.syscalls import HAS_EPOLL
from .accept import Handler, Incoming, RequestHandler, Service, handle

logger = logging.getLogger("hubws")

ACCEPTS = 64
"""The most connections that are accepted before other tasks get a chance."""

OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
GONE_ALREADY = {
    errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT,
}  # fmt: skip
"""What accept says of a connection that broke before it was accepted (accept(2))."""

RETRY = 0.1
"""Pause before accepting again when descriptors have run out, in seconds."""


@attrs.frozen
class ServerStatistics:
    """Figures of a server at one moment."""

    connections: int
    handshaking: int
    """Clients whose opening handshake is under way."""
    accepted: int
    """Connections opened since the server started."""


class Server:
    """A server at work; `serve` hands it to `task_status.started`.

    Attributes:
        listeners: what it listens on.
        addresses: where it listens, as the socket module gives addresses.
        clean: after it has ended: whether all connections were closed in order.

    """

    def __init__(
        self,
        service: Service,
        listeners: Sequence[trio.abc.Listener[Any]],
        nursery: trio.Nursery,
        max_connections: int | None,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.service = service
        self.listeners = listeners
        self.addresses: list[SocketAddress] = [
            sock.getsockname() for sock in map(_listening_socket, listeners) if sock is not None
        ]
        self.clean = True
        self._nursery = nursery
        self._max_connections = max_connections
        self._ssl_context = ssl_context
        self._poller = current_poller()
        self._connections: dict[Connection, None] = {}
        self._incoming: dict[Incoming, None] = {}
        self._accept_scope = trio.CancelScope()
        self._drained: trio.Event | None = None  # set once a drain is over
        self._accepted = 0
        self._last_complaint = -1.0
        self._idle: trio.Event | None = None

    @property
    def port(self) -> int:
        """The port of the first listener that has one."""
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
        return ServerStatistics(len(self._connections), len(self._incoming), self._accepted)

    # -- accepting -----------------------------------------------------------------------------

    async def accept_forever(self) -> None:
        """Accept on all listeners until the server drains."""
        try:
            with self._accept_scope:
                async with trio.open_nursery() as nursery:
                    for listener in self.listeners:
                        if isinstance(listener, trio.SocketListener):
                            nursery.start_soon(self._accept_sockets, listener.socket)
                        else:
                            nursery.start_soon(self._accept_streams, listener)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # a listener that broke; the caller knows no group
                raise group.exceptions[0] from None
            raise

    async def _accept_sockets(self, listening: trio.socket.SocketType) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()  # drained already, the listener is closed
        # trio's own sockets accept one connection a checkpoint; a duplicate of the descriptor takes
        # all that are there.
        with socket.socket(fileno=os.dup(listening.fileno())) as plain:
            plain.setblocking(False)
            if plain.family in (socket.AF_INET, socket.AF_INET6):  # inherited by what it accepts
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                await trio.lowlevel.wait_readable(listening)
                for _ in range(ACCEPTS):
                    try:
                        sock, remote = plain.accept()
                    except BlockingIOError:
                        break
                    except OSError as error:
                        await self._complain(error)
                        break
                    self._take_socket(sock, remote)

    async def _accept_streams(self, listener: trio.abc.Listener[Any]) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                await self._complain(error)
            else:
                self.start_soon(self._take_stream, stream)

    async def _complain(self, error: OSError) -> None:
        """Get over a failed accept: at most one log line a second."""
        if error.errno in GONE_ALREADY:
            return
        if error.errno not in OUT_OF_RESOURCES:
            raise error
        now = trio.current_time()
        if self._last_complaint < 0 or now - self._last_complaint >= 1:
            self._last_complaint = now
            logger.error("can't accept connections for now: %s", error)
        await trio.sleep(RETRY)

    def _take_socket(self, sock: socket.socket, remote: SocketAddress) -> None:
        sock.setblocking(False)
        if self._ssl_context is None and HAS_EPOLL:
            transport = SocketTransport(sock, self._poller, remote)
            deadline = trio.current_time() + self.service.handshake_timeout
            self._begin(transport, deadline)
        else:
            stream: trio.abc.Stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            if self._ssl_context is not None:
                stream = trio.SSLStream(
                    stream, self._ssl_context, server_side=True, https_compatible=True
                )
            self.start_soon(self._take_stream, stream)

    async def _take_stream(self, stream: trio.abc.Stream) -> None:
        """Do the TLS handshake, if there is one to do, within the time of the opening handshake."""
        deadline = trio.current_time() + self.service.handshake_timeout
        remote, local = addresses_of(stream)
        if isinstance(stream, trio.SSLStream):
            done = False
            try:
                with trio.CancelScope(deadline=deadline):
                    await stream.do_handshake()
                    done = True
            except (trio.BrokenResourceError, ssl.SSLError, OSError) as error:
                logger.info("no TLS with %s: %s", remote, error.__cause__ or error)
            finally:
                if not done:
                    await trio.aclose_forcefully(stream)
            if not done:
                return
        self._begin(StreamTransport(stream, remote, local), deadline)

    def _begin(self, transport: Transport, deadline: float) -> None:
        if self._drained is not None:
            transport.close()
        else:
            self._incoming[Incoming(self, transport, self._poller, deadline)] = None

    # -- for those who are being accepted ------------------------------------------------------

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run something in the server's nursery; what it raises is logged and ends nothing else."""
        self._nursery.start_soon(_guard, function, *args)

    def check_admission(self) -> None:
        """Refuse, with 503, a connection beyond the limit or while the server drains."""
        if self._drained is not None:
            raise UpgradeRefused(Response.refusal(503, "the server is going away"))
        if self._max_connections is not None and len(self._connections) >= self._max_connections:
            raise UpgradeRefused(
                Response.refusal(503, "too many connections", [("Retry-After", "5")])
            )

    def release(self, incoming: Incoming) -> None:
        """Forget a client whose opening handshake has ended."""
        self._incoming.pop(incoming, None)

    def adopt(self, incoming: Incoming, connection: Connection) -> None:
        """Take a connection whose opening handshake is done."""
        self.release(incoming)
        self._accepted += 1
        self._connections[connection] = None
        connection.add_end_callback(self._forget)
        if self.service.handler is not None:
            self._poller.has_woken = True
            self._nursery.start_soon(handle, self.service.handler, connection)

    def _forget(self, connection: Connection) -> None:
        del self._connections[connection]
        if self._idle is not None and not self._connections:
            self._idle.set()

    # -- ending --------------------------------------------------------------------------------

    async def drain(self, grace: float, *, spread: float = 0) -> bool:
        """Shut down in order; returns whether every connection was closed cleanly.

        Stops accepting; closes all connections with 1001, spread evenly over `spread` seconds; waits
        for what they still have to send and for their peers' close frames; after `grace` seconds in
        all, or when it is cancelled, ends what is left.
        """
        if self._drained is not None:
            await self._drained.wait()
            return self.clean
        self._drained = trio.Event()
        self._accept_scope.cancel()
        for incoming in list(self._incoming):
            incoming.close()
        connections = list(self._connections)
        pause = spread / len(connections) if connections else 0
        try:
            with trio.move_on_after(grace):
                for listener in self.listeners:  # so that clients are refused rather than kept
                    await trio.aclose_forcefully(listener)
                for connection in connections:
                    connection.close_nowait(CloseCode.GOING_AWAY)
                    if pause:
                        await trio.sleep(pause)
                while self._connections:
                    self._idle = trio.Event()
                    await self._idle.wait()
        finally:
            left = list(self._connections)
            for connection in left:
                connection.abort()
            self.clean = not left and all(
                closure.clean for connection in connections if (closure := connection.closure)
            )
            if left:
                logger.warning("%d connections did not close within %g s", len(left), grace)
            self._drained.set()
        return self.clean


def _listening_socket(listener: trio.abc.Listener[Any]) -> trio.socket.SocketType | None:
    if isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    return listener.socket if isinstance(listener, trio.SocketListener) else None


async def _guard(function: Callable[..., Awaitable[object]], *args: object) -> None:
    try:
        await function(*args)
    except Exception:
        logger.exception("serving a client failed")


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
    max_connections: int | None = None,
    subprotocols: Sequence[str] = (),
    origins: Origins = "same",
    headers: HeaderPairs = (),
    on_request: RequestHandler | None = None,
    handshake_timeout: float = 10,
    grace: float = 5,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **settings: Unpack[SettingsArguments],
) -> None:
    """Serve WebSocket connections until cancelled, then drain.

    Args:
        handler: an async function that is called with each `Connection`, in a task of its own, or
            `Callbacks`. When the function returns, its connection is closed with 1000; when it
            raises, with 1011, and the server goes on.
        host, port: where to listen, as `trio.open_tcp_listeners`; None: on all interfaces.
        callbacks: called beside an async handler.
        listeners: ready listeners, beside or instead of `host` and `port`.
        unix_path: a Unix socket to listen on, beside or instead of the others. It is made, and
            removed at the end.
        ssl_context: speak TLS on every socket; not on listeners that are not sockets.
        backlog: how many connections the system keeps until they are accepted.
        max_connections: more than these are refused with 503.
        subprotocols: the ones the server speaks, the preferred first.
        origins: which web pages may connect: "same" (as the Host header, and whoever sends no
            Origin), "any", or the allowed ones, such as "https://example.org"; None in it allows
            requests without Origin.
        headers: more headers for the 101.
        on_request: called with each plain HTTP request that is no upgrade; returns its `Response`,
            or None for 426. Enough for a page and a health check.
        handshake_timeout: for everything up to the 101, TLS too, in seconds.
        grace: for closing all connections with 1001 when cancelled, in seconds.
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
    if isinstance(subprotocols, str) or not all(map(is_token, subprotocols)):
        raise ValueError(f"subprotocols is a sequence of tokens, not {subprotocols!r}")
    if isinstance(origins, str) and origins not in ("same", "any"):
        raise ValueError(f"origins is 'same', 'any' or a list of origins, not {origins!r}")
    if not handshake_timeout > 0:
        raise ValueError(f"handshake_timeout must be over 0, not {handshake_timeout!r}")
    if not grace >= 0:
        raise ValueError(f"grace must not be below 0, not {grace!r}")
    if port is None and listeners is None and unix_path is None:
        raise TypeError("serve needs a port, listeners or unix_path to listen on")
    service = Service(
        handler=function,
        callbacks=callbacks,
        settings=Settings(**settings),
        subprotocols=subprotocols,
        origins=origins,
        headers=Headers(headers).to_bytes(),
        on_request=on_request,
        handshake_timeout=handshake_timeout,
    )
    opened = list(listeners or ())
    bound = False
    try:
        if port is not None:
            opened += await trio.open_tcp_listeners(port, host=host, backlog=backlog)
        if unix_path is not None:
            opened.append(await _open_unix_listener(unix_path, backlog))
            bound = True
        await _run(service, opened, max_connections, ssl_context, grace, task_status)
    finally:
        for listener in opened:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(listener)
        if unix_path is not None and bound:
            await _remove(unix_path)


async def _run(
    service: Service,
    listeners: Sequence[trio.abc.Listener[Any]],
    max_connections: int | None,
    ssl_context: ssl.SSLContext | None,
    grace: float,
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
        server = Server(service, listeners, handlers, max_connections, ssl_context)
        try:
            task_status.started(server)
            await server.accept_forever()
        except BaseException as error:  # noqa: BLE001 - raised below, when all is closed
            failure = error
        with trio.CancelScope(shield=True):
            deadline = trio.current_time() + grace
            await server.drain(grace)
            handlers.cancel_scope.deadline = max(deadline, trio.current_time())
            stop.set()
    if failure is not None:
        raise failure


async def _hold_nursery(stop: trio.Event, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Keep a shielded nursery open until told to stop."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await stop.wait()


async def _open_unix_listener(path: str | os.PathLike[str], backlog: int) -> trio.SocketListener:
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await sock.bind(os.fspath(path))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(sock)


async def _remove(path: str | os.PathLike[str]) -> None:
    with trio.CancelScope(shield=True):
        try:
            await trio.Path(path).unlink()
        except OSError:
            pass
