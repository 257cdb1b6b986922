"""Silence and lifetime are kept to, at no cost for what passes."""

from __future__ import annotations

import math

import trio

from hubws.proxy.watch import Watch
from hubws.transport.poller import current_poller


class Watched:
    """Something that counts, and is told when it must end."""

    def __init__(self, silence: float = math.inf, lifetime: float = math.inf) -> None:
        self.moved = 0
        self.ends: list[tuple[float, str]] = []
        self.watch = Watch(
            current_poller().timers,
            lambda: self.moved,
            lambda why: self.ends.append((trio.current_time(), why)),
            silence=silence,
            lifetime=lifetime,
        )


async def test_silence(autojump_clock):
    one = Watched(silence=60)
    for _ in range(10):
        await trio.sleep(50)
        one.moved += 1
    await trio.sleep(100)
    [(when, why)] = one.ends
    assert why == "idle for 60 s"
    assert 560 <= when <= 575


async def test_less_silence_from_now_on(autojump_clock):
    one = Watched(silence=60)
    await trio.sleep(59)
    one.watch.allow_silence(5)
    await trio.sleep(4.9)
    assert one.ends == []
    await trio.sleep(1.4)
    assert len(one.ends) == 1


async def test_more_silence_than_before_changes_nothing(autojump_clock):
    one = Watched(silence=5)
    one.watch.allow_silence(60)
    await trio.sleep(7)
    assert len(one.ends) == 1


async def test_lifetime(autojump_clock):
    one = Watched(lifetime=60)
    for _ in range(70):
        one.moved += 1
        await trio.sleep(1)
    assert one.ends == [(60, "lifetime")]


async def test_stopped(autojump_clock):
    one = Watched(silence=60, lifetime=60)
    one.watch.stop()
    await trio.sleep(100)
    assert one.ends == []


async def test_nothing_to_watch(autojump_clock):
    one = Watched()
    await trio.sleep(10**6)
    assert one.ends == []
