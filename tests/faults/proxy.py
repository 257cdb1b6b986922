"""A TCP proxy on 127.0.0.1 through which connections go wrong by plan, byte by byte."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable

import trio

from hubws.testing.plan import Course, Fault, Kind, Plan

CHUNK = 64 * 1024
NO_LINGER = struct.pack("ii", 1, 0)
"""Closing a socket that lingers for no time resets it."""


class Reset(Exception):
    """The link is to be reset."""


class Proxy:
    """Passes connections on to a port, each through the faults of its own plan.

    Args:
        next_plan: makes the plan of each connection, in the order in which they are accepted.
        port_behind: where they go.

    Attributes:
        port: where it listens, once it is started.
        links: how many connections it has accepted.
        done: how many faults of each kind have come.
        passed: bytes that went to the server, and to the client.

    """

    def __init__(self, next_plan: Callable[[], Plan], port_behind: int) -> None:
        self._next_plan = next_plan
        self._port_behind = port_behind
        self._listener: trio.SocketListener | None = None
        self.links = 0
        self.done: Counter[Kind] = Counter()
        self.passed = [0, 0]

    @property
    def port(self) -> int:
        assert self._listener is not None
        port: int = self._listener.socket.getsockname()[1]
        return port

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept until cancelled; then all links are reset."""
        (self._listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with self._listener, trio.open_nursery() as nursery:
            task_status.started()
            while True:
                nursery.start_soon(self._link, await self._listener.accept())

    async def _link(self, client: trio.SocketStream) -> None:
        self.links += 1
        plan = self._next_plan()
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self._port_behind)
        except OSError:
            _reset(client)
            return
        stalled = 0

        async def pump(
            source: trio.SocketStream, sink: trio.SocketStream, faults: tuple[Fault, ...], way: int
        ) -> None:
            nonlocal stalled
            course = Course(faults)
            data: bytes | bytearray = b""
            while True:
                for step in course.steps(data):
                    if not isinstance(step, Fault):
                        await sink.send_all(step)
                        self.passed[way] += len(step)
                        continue
                    self.done[step.kind] += 1
                    if step.kind is Kind.DELAY:
                        await trio.sleep(step.seconds)
                    elif step.kind is Kind.STALL:
                        stalled += 1
                        await trio.sleep_forever()
                    elif step.kind is Kind.RESET:
                        raise Reset
                    elif step.kind is Kind.END:
                        await sink.send_eof()
                        return
                data = await source.receive_some(CHUNK)
                if not data:
                    await sink.send_eof()
                    if stalled:  # the other direction would never see an end
                        raise Reset
                    return

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, client, server, plan.to_server, 0)
                nursery.start_soon(pump, server, client, plan.to_client, 1)
        except* (Reset, trio.BrokenResourceError):
            pass
        else:
            await client.aclose()
            await server.aclose()
        finally:
            _reset(client)
            _reset(server)


def _reset(stream: trio.SocketStream) -> None:
    """Close a socket so that the other side is told RST; nothing if it is closed."""
    if stream.socket.fileno() >= 0:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        stream.socket.close()
