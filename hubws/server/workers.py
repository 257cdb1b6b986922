"""Several processes behind one port: forked, supervised, and restarted one by one.

    supervisor      opens the port; forks; waits for signals and for its children; serves nobody
    worker 0..n-1   each a trio run of its own, with a listening socket of its own at that port

The kernel spreads clients evenly over the sockets (SO_REUSEPORT); from one socket for all, whoever
wakes first may take a hundred at once. They are the supervisor's and outlive every worker: while one is
restarted, its clients wait in its socket's queue, and none is refused. The supervisor has no event
loop, so that it can fork at any time; its children end when it does, however it ends.
"""

from __future__ import annotations

import logging
import math
import os
import random
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import attrs
import trio

logger = logging.getLogger("hubws")

WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

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
        with suppress(OSError):  # the supervisor has gone
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
    called within a trio run or beside other threads' signal handling.
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
    _Supervisor(main, workers, sockets, grace, restart_delay, longest_delay).run()


def listening_sockets(
    port: int, host: str | None = None, *, backlog: int = BACKLOG
) -> list[socket.socket]:
    """Sockets that listen at a port, on all interfaces or those that `host` names, for `run_workers`.

    With port 0 all get the same free port. Raises OSError when it can't listen.
    """
    found: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            sock = socket.socket(family, kind, protocol)
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


@attrs.define(eq=False)
class _Place:
    """One of the workers, as the supervisor sees it."""

    number: int
    sockets: Sequence[socket.socket]
    pid: int = 0
    """0 while none runs."""
    ready: int = -1
    """Where it says that it serves."""
    serves: bool = False
    began: float = 0.0
    failures: int = 0
    """In a row."""
    start_at: float = 0.0
    is_told: bool = False
    """Whether it has been told to end."""
    kill_at: float = math.inf
    """When its time for that is over."""


class _Supervisor:
    def __init__(
        self,
        main: Main,
        workers: int,
        sockets: Sequence[socket.socket],
        grace: float,
        restart_delay: float,
        longest_delay: float,
    ) -> None:
        self._main = main
        self._grace = grace
        self._restart_delay = restart_delay
        self._longest_delay = longest_delay
        self._places = [_Place(0, sockets)]
        for number in range(1, workers):
            self._places.append(_Place(number, [_twin(sock) for sock in sockets]))
        self._to_restart: list[_Place] = []
        self._is_ending = False
        self._alive: tuple[int, int] = (-1, -1)
        self._signals: tuple[int, int] = (-1, -1)

    def run(self) -> None:
        """Until all workers have ended as told."""
        self._alive = os.pipe()  # its end tells the workers that the supervisor is no more
        self._signals = os.pipe()
        for fd in self._signals:
            os.set_blocking(fd, False)
        previous = {number: signal.signal(number, self._noted) for number in WATCHED}
        wake = signal.set_wakeup_fd(self._signals[1], warn_on_full_buffer=False)
        try:
            while self._step():
                pass
        finally:
            for place in self._places:
                if place.pid:
                    os.kill(place.pid, signal.SIGKILL)
                    os.waitpid(place.pid, 0)
                    self._forget(place)
            signal.set_wakeup_fd(wake)
            for number, handler in previous.items():
                signal.signal(number, handler)
            for fd in (*self._alive, *self._signals):
                os.close(fd)
            for place in self._places[1:]:
                for sock in place.sockets:
                    sock.close()

    def _noted(self, number: int, frame: object) -> None:
        """Signals are read from the pipe; this only takes the place of what they did by default."""

    def _step(self) -> bool:
        """Do what is due, then wait for what is next; False when all is over."""
        now = time.monotonic()
        for place in self._places:
            if not place.pid and not self._is_ending and place.start_at <= now:
                self._start(place)
            if place.pid and place.kill_at <= now:
                logger.warning("worker %d did not end in time and is killed", place.number)
                os.kill(place.pid, signal.SIGKILL)
                place.kill_at = math.inf
        if self._is_ending and not any(place.pid for place in self._places):
            return False
        if self._to_restart and all(place.serves for place in self._places):
            self._end(self._to_restart.pop(0))
        times = [place.kill_at if place.pid else place.start_at for place in self._places]
        wait = max(0.0, min(times) - time.monotonic())
        watched = [self._signals[0], *(one.ready for one in self._places if one.ready >= 0)]
        readable, _, _ = select.select(watched, [], [], None if wait == math.inf else wait)
        for place in self._places:
            if place.ready in readable:
                place.serves = bool(os.read(place.ready, 1))
                os.close(place.ready)
                place.ready = -1
        if self._signals[0] in readable:
            for number in os.read(self._signals[0], 4096):
                self._take(number)
        return True

    def _take(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGHUP:
            self._to_restart = list(self._places)
        else:
            self._is_ending = True
            for place in self._places:
                self._end(place)

    def _end(self, place: _Place) -> None:
        """Tell a worker to drain."""
        place.start_at = 0.0
        if place.pid and not place.is_told:
            place.is_told = True
            place.kill_at = time.monotonic() + self._grace
            os.kill(place.pid, signal.SIGTERM)

    def _reap(self) -> None:
        for place in self._places:
            if place.pid and os.waitpid(place.pid, os.WNOHANG)[0]:
                self._ended(place)

    def _ended(self, place: _Place) -> None:
        was_told = place.is_told
        now = time.monotonic()
        self._forget(place)
        if was_told:
            place.failures, place.start_at = 0, 0.0
            return
        if now - place.began > self._longest_delay:
            place.failures = 0
        bound = min(self._longest_delay, self._restart_delay * 2**place.failures)
        place.failures = min(place.failures + 1, 30)
        place.start_at = now + bound * random.random()  # noqa: S311 - no secret
        logger.error("worker %d ended by itself and is started again", place.number)

    def _forget(self, place: _Place) -> None:
        if place.ready >= 0:
            os.close(place.ready)
        place.pid, place.ready, place.serves = 0, -1, False
        place.is_told, place.kill_at = False, math.inf

    def _start(self, place: _Place) -> None:
        ready, says_ready = os.pipe()
        signal.pthread_sigmask(
            signal.SIG_BLOCK, WATCHED
        )  # a child must not take them as its parent
        pid = os.fork()
        if pid == 0:
            self._be_worker(place, says_ready)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        os.close(says_ready)
        place.pid, place.ready, place.began = pid, ready, time.monotonic()

    def _be_worker(self, place: _Place, says_ready: int) -> Any:
        """In the child: run, and never come back."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for watched in WATCHED:
                signal.signal(watched, signal.SIG_DFL)
            signal.signal(
                signal.SIGINT, signal.SIG_IGN
            )  # Ctrl-C goes to all; the supervisor decides
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            os.close(self._alive[1])
            for fd in self._signals:
                os.close(fd)
            for other in self._places:
                for sock in other.sockets if other is not place else ():
                    sock.close()
            pipes = (says_ready, self._alive[0])
            trio.run(_run_worker, self._main, place.number, place.sockets, pipes, self._grace)
            status = 0
        except BaseException:  # noqa: BLE001 - it must not go on as a second supervisor
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


async def _run_worker(
    main: Main,
    number: int,
    sockets: Sequence[socket.socket],
    pipes: tuple[int, int],
    grace: float,
) -> None:
    says_ready, alive = pipes
    listeners = [
        trio.SocketListener(trio.socket.from_stdlib_socket(sock.dup())) for sock in sockets
    ]
    async with trio.open_nursery() as nursery:
        scope = nursery.cancel_scope
        trio.lowlevel.spawn_system_task(_end_when_alone, scope, alive, grace)
        nursery.start_soon(_cancel_when_told, scope)
        await main(Worker(number, listeners, says_ready))
        scope.cancel()


async def _cancel_when_told(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _end_when_alone(scope: trio.CancelScope, alive: int, grace: float) -> None:
    """Do at the end of the supervisor what it would have done."""
    await trio.lowlevel.wait_readable(alive)
    scope.cancel()
    await trio.sleep(grace)
    os._exit(1)
