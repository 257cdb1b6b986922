"""hubws/pages/figures.py: what a process uses, and what the members of a hub have waiting."""

from __future__ import annotations

import sys
import time
from functools import partial

import pytest
import trio

import hubws
from hubws.pages import figures
from hubws.pages.figures import QueueLook, Rates, memory
from hubws.pages.live import address_in_words

from .serving import serving, stay


def test_memory():
    held = memory()
    assert held is not None
    assert 10_000_000 < held < 100_000_000_000


def test_memory_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "plan9")
    assert memory() is None


def test_rates(monkeypatch: pytest.MonkeyPatch):
    clock = [10.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    rates = Rates()
    assert rates.of(sent=100, dropped=0) == {}
    assert rates.of(sent=101, dropped=0) == {}  # no time has gone by
    clock[0] = 12.0
    assert rates.of(sent=121, dropped=1) == {"sent": 10, "dropped": 0.5}


async def test_queues_of_all_members():
    async with (
        hubws.open_hub(policy="drop_newest") as hub,
        serving([], partial(stay, hub), outbox_bytes=1_000_000) as host,
        hubws.connect(f"ws://{host}/", proxy=None, inbox_messages=1) as slow,
        hubws.connect(f"ws://{host}/", proxy=None) as quick,
    ):
        with trio.fail_after(30):
            while len(hub) < 2:
                await trio.sleep(0.01)
        look = QueueLook(hub)
        queues = await look.look()
        assert (queues.messages, queues.bytes, queues.stalled, queues.longest) == (0, 0, 0, [])
        assert (queues.received, queues.sent) == (0, 0)
        with trio.fail_after(30):
            while not hub.statistics().dropped:  # until the slow one has no room
                hub.broadcast("x" * 100_000)
                await quick.receive()
        queues = await look.look()
        (longest,) = queues.longest
        assert longest["remote"] == address_in_words(slow.local)
        assert longest["stalled"]
        assert longest["dropped"] == 1
        assert longest["bytes"] == queues.bytes > 800_000
        assert longest["messages"] == queues.messages
        assert queues.stalled == 1
        assert queues.sent > queues.bytes
        await quick.send("y" * 1000)
        with trio.fail_after(30):
            while queues.received < 1000:
                queues = await look.look()


async def test_only_the_longest_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "MOST", 2)
    async with (
        hubws.open_hub() as hub,
        serving([], partial(stay, hub)) as host,
        hubws.connect(f"ws://{host}/", proxy=None),
        hubws.connect(f"ws://{host}/", proxy=None),
        hubws.connect(f"ws://{host}/", proxy=None),
    ):
        with trio.fail_after(30):
            while len(hub) < 3:
                await trio.sleep(0.01)
        for size, connection in enumerate(hub, 1):
            connection.send_nowait("x" * size * 1000)
        queues = await QueueLook(hub).look()  # within the same turn, before anything has gone
        assert [one["bytes"] // 1000 for one in queues.longest] == [3, 2]
        assert queues.messages == 3
