"""`serve` and `drain`, cancelled at any scheduling point, with a handler in each operation.

Every few points; with `HYPOTHESIS_PROFILE=long` every single one.

Some of the clients read and answer, others don't. Whatever the point: all handlers end, every client
sees whole frames and then the end of its stream, and nothing is left behind.
"""

from __future__ import annotations

import functools
import os
import socket
from collections import Counter

import pytest
import trio
import trio.testing

import hubws
from tests.faults.cancelling import Canceller, cancel_everywhere
from tests.faults.conftest import Tls
from tests.faults.peer import Peer
from tests.faults.remains import rest_until

CUSHION = 0.002
IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
BUFFER = 128 * 1024
"""What the system buffers for what is sent, so that a send really waits, in bytes."""

HELLO = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


class Handlers:
    """One handler for each operation, chosen by the path; counts those that run."""

    def __init__(self, hub: hubws.Hub) -> None:
        self.hub = hub
        self.running: Counter[str] = Counter()
        self.began: set[str] = set()

    async def __call__(self, connection: hubws.Connection) -> None:
        name = connection.path[1:]
        self.running[name] += 1
        self.began.add(name)
        try:
            await getattr(self, name)(connection)
        finally:
            self.running[name] -= 1

    async def receive(self, connection: hubws.Connection) -> None:
        await connection.receive()

    async def iterate(self, connection: hubws.Connection) -> None:
        async for message in connection:
            await connection.send(message)

    async def send(self, connection: hubws.Connection) -> None:
        for _ in range(16):
            await connection.send("s" * 50_000)
        await connection.receive()

    async def ping(self, connection: hubws.Connection) -> None:
        await connection.ping()
        await connection.receive()

    async def aclose(self, connection: hubws.Connection) -> None:
        await connection.send("the last words")
        await connection.aclose(4000)

    async def member(self, connection: hubws.Connection) -> None:
        async with self.hub.member(connection, "topic"):
            self.hub.broadcast("b" * 100)
            await connection.wait_closed()

    async def nursery(self, connection: hubws.Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(self.send, connection)
            await self.iterate(connection)


class Client:
    """Asks for a handler, and reads at once or only in the end."""

    def __init__(self, path: str, *, reads: bool, compressed: bool) -> None:
        self.path = path
        self.reads = reads
        self.compressed = compressed
        self.head = b""
        self.peer: Peer | None = None

    async def run(self, port: int, tls: Tls | None) -> None:
        """Connect, and read all if that is its way."""
        try:
            stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            return  # too late, or the server has gone
        if tls is not None:
            stream = trio.SSLStream(
                stream, tls.client, server_hostname="127.0.0.1", https_compatible=True
            )
        self.peer = Peer(stream, is_client=True, compressed=self.compressed)
        more = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if self.compressed else ""
        try:
            await stream.send_all(HELLO.format(path=self.path, more=more).encode())
        except trio.BrokenResourceError:
            return
        if self.reads:
            await self.read()

    async def read(self) -> None:
        """Read to the end; fails when what comes is not as it should be."""
        if self.peer is None:
            return
        try:
            while b"\r\n\r\n" not in self.head:
                data = await self.peer.stream.receive_some(65536)
                if not data:
                    return
                self.head += data
        except trio.BrokenResourceError:
            return
        self.head, _, rest = self.head.partition(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 101 ")
        self.peer.receive_data(rest)
        await self.peer.read()
        if self.peer.close_code is not None:
            assert not self.peer.is_torn
            assert self.peer.close_code in (1000, 1001, 4000)


class Started(trio.TaskStatus[hubws.Server]):
    """A task status that can be looked at."""

    def __init__(self) -> None:
        self.server: hubws.Server | None = None
        self.or_ended = trio.Event()

    def started(self, value: hubws.Server | None = None) -> None:
        self.server = value
        self.or_ended.set()


def clients() -> list[Client]:
    names = [name for name in vars(Handlers) if not name.startswith("__")]
    return [
        Client(f"/{name}", reads=reads, compressed=reads)
        for name in names
        for reads in (True, False)
    ]


@pytest.mark.parametrize("operation", ["serve", "drain"])
def test_cancelled_at_every_point(tls: Tls | None, operation: str) -> None:
    began: set[str] = set()
    ended: list[str] = []

    async def scenario(canceller: Canceller) -> None:
        started = Started()
        all_clients = clients()

        async def serve(handlers: Handlers) -> None:
            run = functools.partial(
                hubws.serve,
                handlers,
                "127.0.0.1",
                0,
                ssl_context=None if tls is None else tls.server,
                compression=True,
                outbox_bytes=60_000,
                grace=2,
                task_status=started,
            )
            if operation == "serve":
                with canceller.block() as scope:
                    await run()
                ended.append("cancelled" if scope.cancelled_caught else "drained")
            else:
                await run()
            started.or_ended.set()

        async def drain(server: hubws.Server) -> None:
            if operation == "drain":
                with canceller.block() as scope:
                    await server.drain(1, spread=0.5)
                ended.append("cancelled" if scope.cancelled_caught else "drained")
            else:
                await server.drain(1)

        async with hubws.open_hub() as hub, trio.open_nursery() as nursery:
            handlers = Handlers(hub)
            nursery.start_soon(serve, handlers)
            await started.or_ended.wait()
            if (server := started.server) is not None:
                for listener in server.listeners:
                    assert isinstance(listener, trio.SocketListener)
                    listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
                for client in all_clients:
                    nursery.start_soon(client.run, server.port, tls)

                def is_busy(server: hubws.Server = server) -> bool:
                    return server.statistics().accepted == len(all_clients) and any(
                        connection.outbox.is_busy for connection in server.connections
                    )

                await rest_until(lambda: canceller.has_cancelled or is_busy(), CUSHION)
                assert canceller.has_cancelled or is_busy()
                await drain(server)
        began.update(handlers.began)
        assert handlers.running.total() == 0
        assert len(hub) == 0
        for client in all_clients:
            if not client.reads:
                await client.read()
            if client.peer is not None:
                await trio.aclose_forcefully(client.peer.stream)
        if server is not None:
            assert server.statistics().connections == server.statistics().handshaking == 0
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream("127.0.0.1", server.port)

    stride = {"serve": 7, "drain": 3}[operation] * (4 if tls else 1)
    points = cancel_everywhere(
        scenario, stride=1 if IS_LONG else stride, cushion=CUSHION, jump=CUSHION
    )
    assert points > 50
    assert began == {client.path[1:] for client in clients()}
    assert ended[0] == "cancelled"
    assert ended[-1] == "drained"
