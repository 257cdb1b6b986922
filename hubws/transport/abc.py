"""What a transport is to a connection, and a connection to a transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from .tcp_info import TcpInfo

Payload: TypeAlias = bytes | bytearray | memoryview

SocketAddress: TypeAlias = object
"""What the socket module calls an address: a tuple for IP, a path for Unix sockets."""


class Receiver(Protocol):
    """Who gets the bytes. Both methods are synchronous and must not raise."""

    def on_bytes(self, buffer: Payload, end: int) -> None:
        """Take buffer[:end], which is valid during this call only."""

    def on_end(self, error: Exception | None) -> None:
        """No more will come: the peer ended the stream, or it broke with an error."""


class Source(Protocol):
    """What there is to send, in order."""

    def parts(self) -> list[bytes]:
        """All of it."""

    def sent(self, n: int) -> bool:
        """Note that n bytes of `parts` have gone."""

    def take(self, size: int) -> bytes:
        """Take up to that many bytes off the front."""

    def gone(self) -> None:
        """Note that what was taken has gone."""


class Transport(Protocol):
    """A byte stream that is read by pushing and written by offering."""

    receiver: Receiver | None
    """Who gets the bytes; can be exchanged at any time."""

    remote: SocketAddress

    fd: int
    """What `syscalls.send_many` may write to, -1 for none."""

    @property
    def local(self) -> SocketAddress:
        """This side's address, None once it is closed or when there is none."""

    def tcp_info(self) -> TcpInfo | None:
        """What the kernel says of the connection, None where it has none or does not say."""

    def start(self) -> None:
        """Begin to read."""

    def pause(self) -> None:
        """Stop reading, so that the peer is held back by its own network stack."""

    def resume(self) -> None:
        """Go on reading."""

    @property
    def send_nowait(self) -> Callable[[list[bytes]], int]:
        """Takes what can be taken now of some parts, in order; returns how many bytes (0: none)."""

    async def write(self, source: Source) -> None:
        """Wait until some of what the source has can be sent, and send it. For one task at a time.

        Cancelling it may leave the stream in the middle of a frame: close it then. Raises OSError
        when the stream is broken.
        """

    def end_output(self) -> bool:
        """Tell the peer that nothing more will come; False where the stream can't."""

    def close(self) -> None:
        """Let go of everything at once. Can be called again."""
