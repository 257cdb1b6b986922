"""Connected pairs of connections, over each transport, without an opening handshake."""

from __future__ import annotations

import socket
from typing import Any

import trio
import trio.testing

from hubws import Callbacks, Connection, DeflateParameters, Settings
from hubws.connection.callbacks import NO_CALLBACKS
from hubws.transport.abc import Transport
from hubws.transport.poller import current_poller
from hubws.transport.socket import SocketTransport
from hubws.transport.stream import StreamTransport


def socket_transports() -> tuple[Transport, Transport]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    left, right = ends
    return (
        SocketTransport(left, current_poller(), None),
        SocketTransport(right, current_poller(), None),
    )


def memory_transports() -> tuple[Transport, Transport]:
    left, right = trio.testing.memory_stream_pair()
    return StreamTransport(left), StreamTransport(right)


def lockstep_transports() -> tuple[Transport, Transport]:
    left, right = trio.testing.lockstep_stream_pair()
    return StreamTransport(left), StreamTransport(right)


TRANSPORTS = {
    "socket": socket_transports,
    "memory": memory_transports,
    "lockstep": lockstep_transports,
}


class Pairs:
    """Makes pairs, and ends them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.made: list[Connection] = []

    def __call__(
        self,
        *,
        client: Callbacks = NO_CALLBACKS,
        server: Callbacks = NO_CALLBACKS,
        start_server: bool = True,
        start_client: bool = True,
        agreed: DeflateParameters | None = None,
        **settings: Any,
    ) -> tuple[Connection, Connection]:
        settings.setdefault("keepalive_interval", None)
        left, right = TRANSPORTS[self.kind]()
        pair = [
            Connection(
                transport,
                current_poller(),
                is_client=transport is left,
                settings=Settings(**settings),
                callbacks=callbacks,
                compression=agreed,
            )
            for transport, callbacks in [(left, client), (right, server)]
        ]
        if start_client:
            pair[0].begin()
        if start_server:
            pair[1].begin()
        self.made += pair
        return pair[0], pair[1]

    async def end(self) -> None:
        for connection in self.made:
            connection.abort()
        await trio.testing.wait_all_tasks_blocked()
