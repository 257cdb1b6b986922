"""What is left of a scenario once it is over: tasks, descriptors, watched sockets, timers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import trio
import trio.testing

from hubws import Connection
from hubws.transport.poller import current_poller

PATIENCE = 10.0
"""How long the network is waited for, in seconds."""


@attrs.frozen
class Remains:
    """What there is at one moment of a trio run."""

    tasks: Counter[str]
    """How many there are of each name, this task not among them."""
    descriptors: dict[str, str]
    """Number and target of every open file descriptor."""
    watched: int
    """Sockets registered with the poller."""
    dirty: int
    """Outboxes to be flushed."""
    timers: Counter[str]
    """What will be called, how many times."""

    @classmethod
    def now(cls) -> Remains:
        """Look around. The poller, which stays for the rest of the run, is started by it."""
        poller = current_poller()
        return cls(
            Counter(_tasks()),
            _descriptors(),
            len(poller._watched),
            len(poller.dirty),
            Counter(_name(timer.callback) for _, _, timer in poller.timers._heap if timer.callback),
        )

    async def check(self, cushion: float = 0) -> None:
        """Fail when there is more now, or less, once everything has come to rest (see `rest_until`)."""
        await rest_until(lambda: Remains.now() == self, cushion)
        now = Remains.now()
        differences = [
            f"{name}: {there} instead of {getattr(self, name)}"
            for name, there in attrs.asdict(now, recurse=False).items()
            if there != getattr(self, name)
        ]
        assert not differences, "; ".join(differences)


async def rest_until(condition: Callable[[], bool], cushion: float) -> None:
    """Wait until all tasks are blocked for that many seconds and the condition holds.

    With a cushion there is a network, which may take its time: then it may take a while.
    """
    await trio.testing.wait_all_tasks_blocked(cushion)
    left = PATIENCE
    while left > 0 and cushion > 0 and not condition():
        await trio.testing.wait_all_tasks_blocked(cushion)
        left -= cushion


def _tasks() -> list[str]:
    """The names of all tasks of this run but the current one."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    names = []
    left = [root]
    while left:
        task = left.pop()
        names.append(task.name)
        for nursery in task.child_nurseries:
            left += nursery.child_tasks
    names.remove(trio.lowlevel.current_task().name)
    return names


def _name(callback: Callable[[], object]) -> str:
    return getattr(callback, "func", callback).__qualname__


def _descriptors() -> dict[str, str]:
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        try:
            found[link.name] = str(link.readlink())
        except FileNotFoundError:  # the one that lists them
            pass
    return found


def check_nobody_waits(connection: Connection) -> None:
    """Fail when a task is still noted as waiting for something of a connection."""
    assert not connection.outbox.has_waiting
    assert connection._inbox is None or not connection._inbox._waiting
    if connection._pings is not None:
        assert [ping for ping in connection._pings._in_flight.values() if ping.task] == []
    if connection._ended_event is not None:
        assert connection._ended_event.statistics().tasks_waiting == 0
