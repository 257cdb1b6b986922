"""Several processes behind one port: forked, supervised, and restarted one by one.

    supervisor      opens the port; forks; waits for signals and for its children; serves nobody
    worker 0..n-1   each a trio run of its own, with a listening socket of its own at that port

The kernel spreads clients evenly over the sockets (SO_REUSEPORT); from one socket for all, whoever
wakes first may take a hundred at once. They are the supervisor's and outlive every worker: while one is
restarted, its clients wait in its socket's queue, and none is refused. The supervisor has no event
loop, so that it can fork at any time; its children end when it does, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

import attrs
import trio

from .listeners import check_port
from .supervisor import Supervisor

READY = b"r"

BACKLOG = 4096
"""How many connections the system keeps for each worker until they are accepted, if it lets us."""


@attrs.frozen(eq=False)
class Worker:
    """What a worker's main function is given."""

    number: int
    """From 0; a worker that is started in the place of another has its number."""
    listeners: list[trio.SocketListener]
    """For `hubws.serve(listeners=...)`."""
    _ready: int

    def started(self, value: object = None) -> None:
        """Say that it serves; only then the next one is restarted. It is a `task_status`, too."""
        with contextlib.suppress(OSError):  # the supervisor has gone
            os.write(self._ready, READY)


Main: TypeAlias = Callable[[Worker], Awaitable[None]]


def run_workers(
    main: Main,
    workers: int,
    *,
    sockets: Sequence[socket.socket],
    grace: float = 30.0,
    restart_delay: float = 0.1,
    longest_delay: float = 10.0,
) -> None:
    """Run an async function in so many processes until SIGTERM or SIGINT; in the place of `trio.run`.

    Args:
        main: called in each process, with its `Worker`. When the supervisor is told to end, or is
            gone, it is cancelled, so that `hubws.serve` in it drains.
        workers: how many processes.
        sockets: that listen, as `listening_sockets` makes them. They stay the caller's; others than
            those, such as Unix sockets, are accepted from by all workers.
        grace: seconds that a worker may take to end before it is killed; more than that of `serve`.
        restart_delay: the longest wait, in seconds, before a worker that ended by itself is started
            again; twice as long each further time in a row, unless it was up for `longest_delay`.
        longest_delay: the longest of these waits, in seconds.

    SIGHUP restarts the workers one by one: each is told to end, drains, and the next one's turn comes
    when its successor serves. A worker that ends by itself, with or without an error, is logged and
    started again after the delay. Raises ValueError for arguments that make no sense, RuntimeError when
    called within a trio run or outside the main thread, which alone gets signals.
    """
    if type(workers) is not int or workers < 1:
        raise ValueError(f"workers must be a whole number from 1, not {workers!r}")
    for name, value in (("restart_delay", restart_delay), ("longest_delay", longest_delay)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be 0 or more seconds, not {value!r}")
    if not 0 < grace < math.inf:
        raise ValueError(f"grace must be over 0 seconds, not {grace!r}")
    if not sockets:
        raise ValueError("workers need sockets that listen; listening_sockets makes them")
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("call run_workers in the place of trio.run, not within it")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("call run_workers in the main thread, which alone gets signals")
    work = partial(_work, main, grace)
    with contextlib.ExitStack() as stack:
        twins = [[stack.enter_context(_twin(sock)) for sock in sockets] for _ in range(workers - 1)]
        Supervisor(work, [sockets, *twins], grace, restart_delay, longest_delay).run()


def listening_sockets(
    port: int, host: str | None = None, *, backlog: int = BACKLOG
) -> list[socket.socket]:
    """Sockets that listen at a port, on all interfaces or those that `host` names, for `run_workers`.

    With port 0 all get the same free port. Raises OSError when it can't listen, ValueError for what
    is no port.
    """
    check_port(port)
    found: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT and host is None:
                    continue  # this machine does without IPv6, say
                raise
            found.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port == 0 and len(found) > 1:
                address = (address[0], found[0].getsockname()[1], *address[2:])  # noqa: PLW2901
            sock.bind(address)
            sock.listen(backlog)
    except BaseException:
        for sock in found:
            sock.close()
        raise
    return found


def _twin(sock: socket.socket) -> socket.socket:
    """Another socket that listens at the same port, or the same one once more."""
    if sock.family == socket.AF_UNIX or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        return sock.dup()
    twin = socket.socket(sock.family, sock.type, sock.proto)
    twin.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        twin.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    twin.bind(sock.getsockname())
    twin.listen(BACKLOG)
    return twin


def _work(
    main: Main,
    grace: float,
    number: int,
    sockets: Sequence[socket.socket],
    says_ready: int,
    alive: int,
) -> None:
    """What a worker does (see `Supervisor`)."""
    trio.run(_run_worker, main, grace, number, sockets, says_ready, alive)


async def _run_worker(
    main: Main,
    grace: float,
    number: int,
    sockets: Sequence[socket.socket],
    says_ready: int,
    alive: int,
) -> None:
    listeners = [
        trio.SocketListener(trio.socket.from_stdlib_socket(sock.dup())) for sock in sockets
    ]
    # From before `main` begins: it may say at once that it serves, and be told to end.
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            trio.lowlevel.spawn_system_task(_end_when_alone, scope, alive, grace)
            nursery.start_soon(_cancel_when_told, signals, scope)
            await main(Worker(number, listeners, says_ready))
            scope.cancel()


async def _cancel_when_told(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _end_when_alone(scope: trio.CancelScope, alive: int, grace: float) -> None:
    """Do at the end of the supervisor what it would have done."""
    await trio.lowlevel.wait_readable(alive)
    scope.cancel()
    await trio.sleep(grace)
    os._exit(1)
