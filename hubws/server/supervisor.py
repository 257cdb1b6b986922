"""The process that starts workers and watches over them: signals, pipes and time, no event loop."""

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
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

import attrs

logger = logging.getLogger("hubws")

WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Work: TypeAlias = Callable[[int, Sequence[socket.socket], int, int], object]


@attrs.define(eq=False)
class Place:
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


class Supervisor:
    """Starts a worker for each of the lists of sockets, and others in the place of those that end.

    Args:
        work: what a worker does in its process: called with its number, its sockets, and two ends of
            pipes, by which it says that it serves, and learns that the supervisor is no more.
        sockets: of each worker; they stay the caller's.
        grace, restart_delay, longest_delay: see `run_workers`.

    """

    def __init__(
        self,
        work: Work,
        sockets: Sequence[Sequence[socket.socket]],
        grace: float,
        restart_delay: float,
        longest_delay: float,
    ) -> None:
        self._work = work
        self._grace = grace
        self._restart_delay = restart_delay
        self._longest_delay = longest_delay
        self._places = [Place(number, its) for number, its in enumerate(sockets)]
        self._to_restart: list[Place] = []
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
        if self._to_restart and all(one.serves and not one.is_told for one in self._places):
            self._end(self._to_restart.pop(0))
        wait = max(0.0, min(map(self._next_time, self._places)) - time.monotonic())
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

    def _next_time(self, place: Place) -> float:
        """When there is something to do about a worker, if nothing happens before."""
        if place.pid:
            return place.kill_at
        return math.inf if self._is_ending else place.start_at

    def _take(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGHUP:
            self._to_restart = list(self._places)
        else:
            self._is_ending = True
            for place in self._places:
                self._end(place)

    def _end(self, place: Place) -> None:
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

    def _ended(self, place: Place) -> None:
        was_told = place.is_told
        now = time.monotonic()
        self._forget(place)
        if was_told:
            place.failures, place.start_at = 0, 0.0
            return
        if now - place.began > self._longest_delay:
            place.failures = 0
        self._put_off(place, now)
        logger.error("worker %d ended by itself and is started again", place.number)

    def _put_off(self, place: Place, now: float) -> None:
        """Start a worker later, the later the more often that was needed."""
        bound = min(self._longest_delay, self._restart_delay * 2**place.failures)
        place.failures = min(place.failures + 1, 30)
        place.start_at = now + bound * random.random()  # noqa: S311 - no secret

    def _forget(self, place: Place) -> None:
        if place.ready >= 0:
            os.close(place.ready)
        place.pid, place.ready, place.serves = 0, -1, False
        place.is_told, place.kill_at = False, math.inf

    def _start(self, place: Place) -> None:
        ready, says_ready = os.pipe()
        # A child must not take them as its parent.
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, say: that passes, and the others serve
            os.close(ready)
            self._put_off(place, time.monotonic())
            logger.error("worker %d can't be started now: %s", place.number, error)  # noqa: TRY400
            return
        else:
            if pid == 0:
                self._be_worker(place, says_ready)
            place.pid, place.ready, place.began = pid, ready, time.monotonic()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            os.close(says_ready)

    def _be_worker(self, place: Place, says_ready: int) -> NoReturn:
        """In the child: run, and never come back."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for watched in WATCHED:
                signal.signal(watched, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C the supervisor tells
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            os.close(self._alive[1])
            for fd in self._signals:
                os.close(fd)
            for other in self._places:
                for sock in other.sockets if other is not place else ():
                    sock.close()
            self._work(place.number, place.sockets, says_ready, self._alive[0])
            status = 0
        except BaseException:  # noqa: BLE001 - it must not go on as a second supervisor
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
