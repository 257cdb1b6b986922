"""Accepting: from listeners to byte streams whose opening handshake begins."""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import trio

from ..transport.abc import SocketAddress, Transport
from ..transport.poller import Poller
from ..transport.socket import SocketTransport
from ..transport.stream import StreamTransport, addresses_of
from ..transport.syscalls import HAS_EPOLL

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

PATIENCE = 1.0
"""How long a client may be silent when others wait for its place, in seconds."""


class Host(Protocol):
    """For whom it accepts."""

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run something that takes its time."""

    def begin(self, transport: Transport, deadline: float) -> None:
        """Begin an opening handshake that must be done by then; `Acceptor.release` when it is."""

    def give_up(self, remote: SocketAddress, why: str) -> None:
        """A client goes without an opening handshake; it counts until `Acceptor.release`."""


class Acceptor:
    """Accepts on all listeners as long as there is room for more handshakes.

    Attributes:
        handshakes: how many clients were accepted and not released yet.

    """

    def __init__(
        self,
        host: Host,
        poller: Poller,
        *,
        ssl_context: ssl.SSLContext | None,
        handshake_timeout: float,
        max_handshakes: int | None,
    ) -> None:
        self._host = host
        self._poller = poller
        self._ssl_context = ssl_context
        self._handshake_timeout = handshake_timeout
        self._max_handshakes = max_handshakes
        self._scope = trio.CancelScope()
        self._room: trio.Event | None = None  # set when there is, for who waits for it
        self._silent: dict[Callable[[], None], float] = {}  # what cuts a client off, since when
        self._last_complaint = -1.0
        self.handshakes = 0

    async def run(self, listeners: Sequence[trio.abc.Listener[Any]]) -> None:
        """Accept until stopped."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for listener in listeners:
                        if isinstance(listener, trio.SocketListener):
                            nursery.start_soon(self._accept_sockets, listener.socket)
                        else:
                            nursery.start_soon(self._accept_streams, listener)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # a listener that broke; the caller knows no group
                raise group.exceptions[0] from None
            raise

    def stop(self) -> None:
        """Accept no more."""
        self._scope.cancel()

    def release(self) -> None:
        """A handshake is over: there is room for another."""
        self.handshakes -= 1
        if self._room is not None:
            self._room.set()
            self._room = None

    def _is_full(self) -> bool:
        return self._max_handshakes is not None and self.handshakes >= self._max_handshakes

    def watch(self, cut: Callable[[], None]) -> None:
        """Say how to cut a client off who has not said what it wants yet."""
        self._silent[cut] = trio.current_time()

    def unwatch(self, cut: Callable[[], None]) -> None:
        """The client has said it, or has gone."""
        self._silent.pop(cut, None)

    async def _wait_for_room(self) -> None:
        """Wait until a handshake is over, or cut off whoever has been silent for longest."""
        while self._is_full():
            if self._room is None:
                self._room = trio.Event()
            cut, since = next(iter(self._silent.items()), (None, math.inf))
            with trio.CancelScope(deadline=since + PATIENCE):
                await self._room.wait()
            if cut in self._silent and self._is_full() and trio.current_time() >= since + PATIENCE:
                logger.debug("a client that said nothing makes room for others")
                del self._silent[cut]
                cut()
                await trio.lowlevel.checkpoint()

    async def _accept_sockets(self, listening: trio.socket.SocketType) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()  # stopped already, the listener is closed
        # trio's own sockets accept one connection a checkpoint; a duplicate of the descriptor takes
        # all that are there.
        with socket.socket(fileno=os.dup(listening.fileno())) as plain:
            plain.setblocking(False)
            if plain.family in (socket.AF_INET, socket.AF_INET6):  # inherited by what it accepts
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                await trio.lowlevel.wait_readable(plain)
                await self._wait_for_room()
                for _ in range(ACCEPTS):
                    if self._is_full():
                        break
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
            await self._wait_for_room()
            try:
                stream = await listener.accept()
            except OSError as error:
                await self._complain(error)
            else:
                self.handshakes += 1
                self._host.start_soon(self._take_stream, stream)

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
        self.handshakes += 1
        if self._ssl_context is None and HAS_EPOLL:
            transport = SocketTransport(sock, self._poller, remote)
            self._host.begin(transport, trio.current_time() + self._handshake_timeout)
        else:
            stream: trio.abc.Stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            if self._ssl_context is not None:
                stream = trio.SSLStream(
                    stream, self._ssl_context, server_side=True, https_compatible=True
                )
            self._host.start_soon(self._take_stream, stream)

    async def _take_stream(self, stream: trio.abc.Stream) -> None:
        """Do the TLS handshake, if there is one to do, within the time of the opening handshake."""
        deadline = trio.current_time() + self._handshake_timeout
        remote, local = addresses_of(stream)
        if isinstance(stream, trio.SSLStream):
            done = False
            why = "its TLS handshake took too long"
            scope = trio.CancelScope(deadline=deadline)
            self.watch(scope.cancel)
            try:
                with scope:
                    await stream.do_handshake()
                    done = True
            except (trio.BrokenResourceError, ssl.SSLError, OSError) as error:
                why = f"no TLS: {error.__cause__ or error}"
                logger.info("lost %s: %s", remote, why, extra={"remote": remote})
            finally:
                self.unwatch(scope.cancel)
                if not done:
                    self._host.give_up(remote, why)
                    await trio.aclose_forcefully(stream)
            if not done:
                return
        self._host.begin(StreamTransport(stream, remote, local), deadline)
