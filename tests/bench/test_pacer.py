"""hubws/bench/pacer.py and alarm.py: what is due is sent, in the order of its times."""

from __future__ import annotations

import time

import trio
import trio.testing

from hubws.bench.alarm import NEVER, open_alarm
from hubws.bench.pacer import Pacer

LIMIT = 30


class Sender:
    """Is called so many times, a millisecond apart."""

    def __init__(self, calls: list[int], number: int, times: int) -> None:
        self._calls = calls
        self._number = number
        self._left = times
        self.early = 0

    def send_due(self, now: int) -> int:
        self.early += now > time.monotonic_ns()
        self._calls.append(self._number)
        self._left -= 1
        return now + 1_000_000 if self._left else NEVER


async def test_an_alarm_rings_at_its_time_and_no_earlier():
    with open_alarm() as alarm, trio.fail_after(LIMIT):
        when = time.monotonic_ns() + 20_000_000
        alarm.set(when)
        await alarm.wait()
        assert time.monotonic_ns() >= when


async def test_an_alarm_for_a_time_that_is_over_rings_at_once_and_one_for_never_does_not():
    with open_alarm() as alarm, trio.fail_after(LIMIT):
        alarm.set(0)
        await alarm.wait()
        alarm.set(NEVER)
        with trio.move_on_after(0.01) as scope:
            await alarm.wait()
        assert scope.cancelled_caught


async def test_each_is_called_until_it_never_wants_to_be_again():
    calls: list[int] = []
    senders = [Sender(calls, 0, 5), Sender(calls, 1, 3)]
    with open_alarm() as alarm, trio.fail_after(LIMIT):
        pacer = Pacer(alarm)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pacer.run)
            await trio.testing.wait_all_tasks_blocked()
            now = time.monotonic_ns()
            for number, sender in enumerate(senders):
                pacer.add(sender, now + number)
            while len(calls) < 8:
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
    assert sorted(calls) == [0] * 5 + [1] * 3
    assert calls[:2] == [0, 1]
    assert sum(sender.early for sender in senders) == 0
