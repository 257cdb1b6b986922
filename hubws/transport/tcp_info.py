"""What the operating system knows of a TCP connection, on Linux."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Protocol

import attrs


class Socket(Protocol):
    """The part of a socket that is needed here; those of the socket module and of trio have it."""

    def getsockopt(self, level: int, option: int, buffer_size: int, /) -> bytes:
        """Read an option of the socket."""


@attrs.frozen
class TcpInfo:
    """The kernel's own estimate of the round-trip time: of segments and their acknowledgements.

    The peer's kernel acknowledges, not its application, so what a ping takes longer than this is
    spent in the two processes, or in queues before the socket.
    """

    rtt: float
    """Smoothed, in seconds (RFC 6298 §2); a peer that delays acknowledgements adds up to 0.04."""
    variation: float
    """Of it, in seconds."""
    retransmitted: int
    """Segments sent again since the connection opened."""


# struct tcp_info of linux/tcp.h: 8 bytes, then numbers of 4 bytes; these are the 16th, 17th, 24th
_unpack = struct.Struct("68xII24xI").unpack


def read_tcp_info(sock: Socket) -> TcpInfo | None:
    """Ask the kernel; None where it does not say: other systems, Unix sockets, closed ones."""
    if sys.platform != "linux":
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except OSError:
        return None
    rtt, variation, retransmitted = _unpack(raw)  # in microseconds
    return TcpInfo(rtt / 1e6, variation / 1e6, retransmitted)
