"""Running a scenario again and again, cancelled each time one scheduling point later."""

from __future__ import annotations

import gc
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import trio
import trio.testing

from hubws import Connection
from tests.faults.remains import Remains

LIMIT = 2000
"""A scenario with more points than this does not end."""


class Canceller(trio.abc.Instrument):
    """Cancels a block at one scheduling point: after that many steps, of any tasks, since it began.

    Attributes:
        has_cancelled: whether it came to it before the block was done.

    """

    def __init__(self, point: int) -> None:
        self._left = point
        self._scope: trio.CancelScope | None = None
        self.has_cancelled = False

    @contextmanager
    def block(self) -> Iterator[trio.CancelScope]:
        """The operation that is to be cancelled."""
        with trio.CancelScope() as scope:
            self._scope = scope
            if self._left == 0:
                self._cancel()
            try:
                yield scope
            finally:
                self._scope = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count (see `trio.abc.Instrument`)."""
        if self._scope is not None:
            self._left -= 1
            if self._left == 0:
                self._cancel()

    def _cancel(self) -> None:
        assert self._scope is not None
        self.has_cancelled = True
        self._scope.cancel()


def cancel_everywhere(
    scenario: Callable[[Canceller], Awaitable[None]],
    *,
    stride: int = 1,
    cushion: float = 0,
    jump: float = 0,
) -> int:
    """Run a scenario cancelled at its 1st, 2nd, 3rd ... scheduling point, until it is not any more.

    Each is a trio run of its own on a clock that jumps, from which nothing may be left; its order of
    tasks is the same up to that point. Returns how many points there were.

    Args:
        scenario: is given what cancels, for the block that is to be cancelled.
        stride: leave out all points but every so many.
        cushion: how long nothing must happen until nothing will, in seconds: some for the network.
        jump: how long nothing must happen until the clock jumps, in seconds.

    """

    async def run(canceller: Canceller) -> None:
        before = Remains.now()
        await scenario(canceller)
        await before.check(cushion)

    with _no_connection_left():
        for point in range(0, LIMIT, stride):
            canceller = Canceller(point)
            with mock.patch("trio._core._run._r", random.Random(0)):
                trio.run(
                    run,
                    canceller,
                    clock=trio.testing.MockClock(autojump_threshold=jump),
                    instruments=[canceller],
                )
            if not canceller.has_cancelled:
                return point
    raise AssertionError(f"it was not done after {LIMIT} points")


@contextmanager
def _no_connection_left() -> Iterator[None]:
    """Fail when a connection that was made in the block is in memory after it."""
    gc.freeze()  # what was there before is neither searched nor found: 1 ms instead of 100
    try:
        yield
        gc.collect()
        assert [one for one in gc.get_objects() if type(one) is Connection] == []
    finally:
        gc.unfreeze()
