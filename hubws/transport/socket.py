"""Plain sockets, driven by the shared poller."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

import trio

from .abc import Receiver, SocketAddress, Source
from .poller import Poller
from .syscalls import receive_into, send
from .tcp_info import TcpInfo, read_tcp_info


class SocketTransport:
    """A connected, non-blocking stream socket (TCP or Unix)."""

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_poller",
        "_reading",
        "_socket",
        "_waiting",
        "fd",
        "receiver",
        "remote",
        "send_nowait",
    )

    def __init__(self, sock: socket.socket, poller: Poller, remote: SocketAddress) -> None:
        self._socket = sock
        self.fd = sock.fileno()
        self._poller = poller
        self._buffer = poller.buffer
        self._reading = False
        self._waiting = False
        self.receiver: Receiver | None = None
        self.remote = remote
        self.send_nowait: Callable[[list[bytes]], int] = partial(send, self.fd)

    @classmethod
    def from_stream(
        cls, stream: trio.SocketStream, poller: Poller, remote: SocketAddress
    ) -> SocketTransport:
        """Take over the socket of a stream, which can't be used any more."""
        sock = stream.socket
        plain = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        plain.setblocking(False)
        return cls(plain, poller, remote)

    @property
    def local(self) -> SocketAddress:
        """This side's address, None once it is closed."""
        return None if self.fd < 0 else self._socket.getsockname()

    def tcp_info(self) -> TcpInfo | None:
        """What the kernel says of the connection, None for a Unix socket and once it is closed."""
        return None if self.fd < 0 else read_tcp_info(self._socket)

    def start(self) -> None:
        self.resume()

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._poller.forget(self.fd)

    def resume(self) -> None:
        if not self._reading and self.fd >= 0:
            try:
                self._poller.watch(self.fd, self._on_readable)
            except OSError as error:  # the system watches no more (/proc/sys/fs/epoll)
                assert self.receiver is not None
                self.receiver.on_end(error)
            else:
                self._reading = True

    def _on_readable(self) -> None:
        buffer = self._buffer
        receiver = self.receiver
        assert receiver is not None
        try:
            n = receive_into(self.fd, buffer)
        except OSError as error:
            self.pause()
            receiver.on_end(error)
            return
        if n > 0:
            receiver.on_bytes(buffer, n)
        elif n == 0:
            self.pause()
            receiver.on_end(None)

    async def write(self, source: Source) -> None:
        self._waiting = True
        try:
            await trio.lowlevel.wait_writable(self._socket)
        except trio.ClosedResourceError:
            raise OSError("the socket was closed") from None
        finally:
            self._waiting = False
        source.sent(self.send_nowait(source.parts()))

    def end_output(self) -> bool:
        if self.fd >= 0:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:  # the peer has gone already
                pass
        return True

    def close(self) -> None:
        if self.fd >= 0:
            self.pause()
            if self._waiting:
                trio.lowlevel.notify_closing(self._socket)
            self.fd = -1
            self.send_nowait = _refuse  # the descriptor's number may soon be another socket's
            self.receiver = None
            try:
                self._socket.close()
            except OSError:  # what was not delivered is known to be lost
                pass


def _refuse(_parts: list[bytes]) -> int:
    raise OSError("the socket was closed")
