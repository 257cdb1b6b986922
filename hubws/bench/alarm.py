"""Waking up at a time of the machine's monotonic clock, closer than the event loop does.

trio waits in epoll, which counts whole milliseconds and rounds up: a message that is sent then is half
a millisecond late on average, several times the round trip on one machine. A timerfd wakes within some
50 microseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import time
from collections.abc import Iterator

import trio

CLOCK_MONOTONIC = 1
ABSOLUTE = 1
CLOSED_ON_EXEC, NON_BLOCKING = 0o2000000, 0o4000
NEVER = 2**63 - 1
"""A time in ns that doesn't come."""

_SECOND = 1_000_000_000


class Alarm:
    """Rings once at each time that it is set to; times are those of `time.monotonic_ns`."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._libc.timerfd_create(
            CLOCK_MONOTONIC, NON_BLOCKING | CLOSED_ON_EXEC
        )
        self._check(self._descriptor)

    @staticmethod
    def _check(result: int) -> None:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "timerfd")

    def set(self, when: int) -> None:
        """Ring at that time, at once if it is over, not at all at NEVER; instead of the last one."""
        seconds, ns = (0, 0) if when == NEVER else divmod(max(when, 1), _SECOND)
        value = struct.pack("@4l", 0, 0, seconds, ns)
        self._check(self._libc.timerfd_settime(self._descriptor, ABSOLUTE, value, None))

    async def wait(self) -> None:
        """Wait until it rings. A checkpoint."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 8)
                return

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


@contextlib.contextmanager
def open_alarm() -> Iterator[Alarm]:
    """An alarm for as long as the block runs."""
    alarm = Alarm()
    try:
        yield alarm
    finally:
        alarm.close()


def seconds_until(when: int) -> float:
    """From now to a time of the machine's monotonic clock, in ns; negative when it is over."""
    return (when - time.monotonic_ns()) / _SECOND
