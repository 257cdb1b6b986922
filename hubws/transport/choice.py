"""Which transport moves the bytes of a stream."""

from __future__ import annotations

import trio

from .abc import Transport
from .poller import current_poller
from .socket import SocketTransport
from .stream import StreamTransport, addresses_of
from .syscalls import HAS_EPOLL


def transport_of(stream: trio.abc.Stream) -> Transport:
    """The fast way for plain sockets, the general one for the rest. The stream is used up by it."""
    remote, local = addresses_of(stream)
    if isinstance(stream, trio.SocketStream) and HAS_EPOLL:
        return SocketTransport.from_stream(stream, current_poller(), remote)
    return StreamTransport(stream, remote, local)
